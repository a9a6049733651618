"""A mirror in a bucket of S3 (or of what speaks its protocol: MinIO, SeaweedFS, Ceph …), Google Cloud Storage, Azure.

Who we are and where it is, the environment says (``store/clouds.py``); ``AWS_SKIP_SIGNATURE=true``,
``GOOGLE_SKIP_SIGNATURE`` or ``AZURE_SKIP_SIGNATURE`` is for a bucket that is open to all.
"""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError

from modelyard.core.errors import NotFound, RejectedContent
from modelyard.core.manifest import FileEntry
from modelyard.package.meter import Meter, check_room
from modelyard.package.partial import Partial
from modelyard.package.uv import Progress
from modelyard.pipeline.mirror.manifest import (
    LARGEST,
    MARK,
    MARK_BYTES,
    EntryManifest,
    encode,
    manifest_name,
)
from modelyard.store.clouds import connect, error_of, parse_bucket

_PIECE: Final = 1 << 20
_RANGE: Final = 32 << 20  # bytes that are asked for at once
_PART: Final = 16 << 20  # bytes of a part of an upload, of which S3 takes 10,000
_PARTS: Final = 9_000


class BucketPlace:
    """Below ``s3://bucket/prefix`` (``gs://``, ``az://``). Raises InvalidInput for an address or settings that cannot be."""

    def __init__(self, address: str) -> None:
        named = parse_bucket(address, field="mirror")
        self.address = named.address
        self._store = connect(named, below=True, field="mirror")

    @property
    def staging(self) -> None:
        return None

    def mark(self) -> bytes | None:
        return self._read(MARK)

    def manifest(self, name: str) -> bytes | None:
        return self._read(manifest_name(name))

    def get(self, name: str, file: FileEntry, to: Path, progress: Progress) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        check_room(to.parent, file.size)
        coming = to.with_name(f".{file.sha256[:16]}.partial")
        if coming.exists():
            with contextlib.suppress(
                RejectedContent
            ):  # what was kept is not of this file: then from its beginning
                self._get(name, file, coming, to, progress)
                return
        self._get(name, file, coming, to, progress)

    def _get(self, name: str, file: FileEntry, coming: Path, to: Path, progress: Progress) -> None:
        self._check_size(name, file)
        with Partial(coming, most=file.size) as partial:
            if partial.size > file.size:
                partial.restart()
            meter = Meter(file.size, progress)
            meter.at(partial.size)
            while partial.size < file.size:
                end = min(file.size, partial.size + _RANGE)
                piece = self._range(name, file, partial.size, end)
                if len(piece) != end - partial.size:
                    raise RejectedContent(f"{self.address}/{name}/{file.path} changed while it came.")
                partial.write(piece)
                meter.at(partial.size)
            try:
                partial.finish(to, sha256=file.sha256)
            except RejectedContent as error:
                raise RejectedContent(f"{self.address}/{name}/{file.path}: {error.message}") from None

    def begin(self, manifest: EntryManifest) -> None:
        if self.mark() is None:
            with _understood(self.address):
                obstore.put(self._store, MARK, MARK_BYTES)
        if self.manifest(manifest.name) not in (None, encode(manifest)):
            with _understood(self.address):
                obstore.delete(self._store, manifest_name(manifest.name))

    def put(self, name: str, file: FileEntry, source: Path, progress: Progress) -> None:
        if self._has(name, file):
            return
        attributes = {"sha256": file.sha256, "Content-Type": "application/octet-stream"}
        with _understood(self.address):
            key = f"{name}/{file.path}"
            if file.size <= _PART:
                obstore.put(
                    self._store, key, source.read_bytes(), attributes=attributes, use_multipart=False
                )
            else:
                obstore.put(
                    self._store, key, _pieces(source, Meter(file.size, progress, verb="uploaded")),
                    attributes=attributes, chunk_size=max(_PART, -(-file.size // _PARTS)), max_concurrency=4,
                )  # fmt: skip
        if not self._has(name, file):
            raise RejectedContent(f"{source} changed while it was sent, or {self.address} has not kept it.")

    def commit(self, manifest: EntryManifest) -> None:
        with _understood(self.address):
            obstore.put(self._store, manifest_name(manifest.name), encode(manifest))
            wanted = {f"{manifest.name}/{file.path}" for file in manifest.files}
            listed = obstore.list(self._store, f"{manifest.name}/")
            strays = [each["path"] for some in listed for each in some if each["path"] not in wanted]
            if strays:  # of another version
                obstore.delete(self._store, strays)

    def _has(self, name: str, file: FileEntry) -> bool:
        """Whether it is there as we put it: its size, and the digest that it was put with."""
        with _understood(self.address):
            try:
                found = obstore.get(self._store, f"{name}/{file.path}", options={"head": True})
            except FileNotFoundError:
                return False
            return (found.meta["size"], found.attributes.get("sha256")) == (file.size, file.sha256)

    def _check_size(self, name: str, file: FileEntry) -> None:
        with _understood(self.address):
            try:
                found = obstore.head(self._store, f"{name}/{file.path}")["size"]
            except FileNotFoundError:
                raise RejectedContent(f"The mirror {self.address} has lost {name}/{file.path}.") from None
        if found != file.size:
            raise RejectedContent(
                f"{self.address}/{name}/{file.path} has {found:,} bytes, and its manifest says {file.size:,}."
            )

    def _range(self, name: str, file: FileEntry, start: int, end: int) -> bytes:
        with _understood(self.address):
            return bytes(obstore.get_range(self._store, f"{name}/{file.path}", start=start, end=end))

    def _read(self, key: str) -> bytes | None:
        with _understood(self.address):
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError:
                return None
            if found.meta["size"] > LARGEST:
                raise RejectedContent(f"{self.address}/{key} is too large to be a manifest.")
            return bytes(found.bytes())


def _pieces(path: Path, meter: Meter) -> Iterator[bytes]:
    done = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            done += len(piece)
            meter.at(done)
            yield piece


@contextmanager
def _understood(address: str) -> Iterator[None]:
    """The library's errors as ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(
            f"{address}: there is no such bucket, or what was in it a moment ago is no more.",
            field="mirror",
        ) from error
    except BaseError as error:
        raise error_of(error, address, retry_after=30.0) from error
