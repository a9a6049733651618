"""The first stage of a deployment from the catalog: an entry's files are fetched, and are an upload then."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from modelyard.catalog.catalog import load
from modelyard.catalog.entry import Entry
from modelyard.core.manifest import FileEntry
from modelyard.core.provenance import Arrival, Source
from modelyard.core.units import format_bytes
from modelyard.host.files import digest_file
from modelyard.package.uv import Progress
from modelyard.pipeline.fetch import came_from, fetch
from modelyard.pipeline.parameters import DeployParameters
from modelyard.pipeline.run import Run
from modelyard.registry import upload
from modelyard.store.blobs import BlobStore
from modelyard.store.files import FolderFiles
from modelyard.store.uploads import Upload, Uploads

FETCH: Final = "fetch"  # the stage
_CHUNK: Final = 1024 * 1024
_APART: Final = 0.5  # seconds between two lines of progress: each is a row


class Fetched(NamedTuple):
    """The upload that has the files of an entry, and where they came from."""

    upload: Upload
    source: Source


class Fetching:
    """Fetches into ``folder``, where the command line does too: what one of both has brought the other finds."""

    def __init__(self, folder: Path, mirror: str | None, blobs: BlobStore, uploads: Uploads) -> None:
        self._folder = folder
        self._mirror = mirror
        self._blobs = blobs
        self._uploads = uploads

    def __call__(
        self, run: Run, parameters: DeployParameters, entry: str, project: str
    ) -> DeployParameters:
        """The stage, or what it brought before: the same with an upload; one that expired before it was registered is
        made again. Raises as :meth:`fetch`."""
        done = run.brought(FETCH)
        # Renewed and not only looked at: its time may end before it is registered.
        if done is None or (run.brought("register") is None and not self._uploads.renew(done["upload"])):
            with run.stage(FETCH, f"Fetching {entry}") as done:
                made = self.fetch(run, load().get(entry), project)
                size = format_bytes(made.upload.manifest.size)
                done |= {"upload": made.upload.id, "source": msgspec.to_builtins(made.source)}
                done["message"] = f"{len(made.upload.manifest.files)} file(s), {size}"
        arrival = msgspec.structs.replace(
            parameters.arrival or Arrival(source=Source(kind="upload")),
            source=msgspec.convert(done["source"], Source),
        )
        return msgspec.structs.replace(parameters, upload=done["upload"], arrival=arrival)

    def fetch(self, run: Run, entry: Entry, project: str) -> Fetched:
        """Raises what :func:`modelyard.pipeline.fetch.fetch` does, Cancelled and Stopped between two files or lines."""
        progress = _told_seldom(run)
        folder = fetch(entry, self._folder, mirror=self._mirror, progress=progress)
        source = came_from(entry, folder, self._folder, self._mirror)
        files = FolderFiles(folder)
        entries: list[FileEntry] = []
        for path in files.paths:
            run.check()
            progress(f"reading {path}")
            entries.append(FileEntry(path=path, size=files.size(path), sha256=digest_file(folder / path)))
        made, missing = upload.begin(self._uploads, self._blobs, entries, project=project)
        lacking = {file.sha256: file for file in entries if file.sha256 in set(missing)}
        for file in lacking.values():
            run.check()
            self._uploads.renew(made.id)
            progress(f"keeping {file.path}")
            self._blobs.put(_chunks(files, file), sha256=file.sha256, size=file.size)
        return Fetched(made, source)


def _told_seldom(run: Run) -> Progress:
    last = float("-inf")

    def progress(line: str) -> None:
        nonlocal last
        run.check()
        if time.monotonic() - last >= _APART:
            last = time.monotonic()
            run.progress(line)

    return progress


def _chunks(files: FolderFiles, file: FileEntry) -> Iterator[bytes]:
    for start in range(0, file.size, _CHUNK):
        yield files.read(file.path, start, _CHUNK)
