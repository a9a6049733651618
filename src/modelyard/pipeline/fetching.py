"""The first stage of a deployment from the catalog: an entry's files are fetched, and are an upload then."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from modelyard.catalog.entry import Entry
from modelyard.core.manifest import FileEntry
from modelyard.core.provenance import Source
from modelyard.host.files import digest_file
from modelyard.package.uv import Progress
from modelyard.pipeline.fetch import came_from, fetch
from modelyard.pipeline.run import Run
from modelyard.registry import upload
from modelyard.store.blobs import BlobStore
from modelyard.store.files import FolderFiles
from modelyard.store.uploads import Upload, Uploads

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

    def __call__(self, run: Run, entry: Entry, project: str) -> Fetched:
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
