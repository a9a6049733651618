"""Where packs lie: a folder of this machine, or a bucket; one object store's words for both."""

import os
import secrets
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from modelyard.core.errors import Unavailable
from modelyard.store.clouds import error_of
from modelyard.store.durable import disk_error, make_folder, sync_file, sync_folder

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_PART: Final = 16 * 1024 * 1024
_PARTS: Final = 9000  # S3 takes 10,000 of one object


class Object(NamedTuple):
    """One object: its key, bytes, seconds since the epoch."""

    key: str
    size: int
    modified: float


class Place:
    """Objects by key, each whole or not there. ``root`` is the folder of a place on this machine, else None.

    What is not there is FileNotFoundError; what cannot be had is Forbidden or Unavailable.
    """

    def __init__(self, store: "ObjectStore", name: str, root: Path | None = None) -> None:
        self._store = store
        self.name = name
        self.root = root

    @classmethod
    def local(cls, root: Path) -> "Place":
        """The folder ``root``, made when it is not there."""
        make_folder(root)
        return cls(LocalStore(root), str(root), root)

    def path(self, key: str) -> Path | None:
        """The file of an object, where the place is a folder."""
        return None if self.root is None else self.root / key

    def keep(self, file: Path, key: str) -> None:
        """``file`` as the object of ``key``: durable first, then visible. In a folder the file itself goes there."""
        with self._told(bucket=True):
            if self.root is None:
                size = file.stat().st_size
                if size <= _PART:
                    obstore.put(self._store, key, file.read_bytes(), use_multipart=False)
                else:
                    part = max(_PART, -(-size // _PARTS))
                    obstore.put(self._store, key, file, chunk_size=part, max_concurrency=4)
                return
            file.chmod(0o444)  # it is linked into the folders of versions
            sync_file(file)
            there = self.root / key
            make_folder(there.parent)
            file.rename(there)
            sync_folder(there.parent)

    def read(self, key: str, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``; fewer where the object ends before."""
        if length == 0:
            return b""
        with self._told():
            if self.root is not None:
                # The library's own way into a file copies twice and takes four times as long.
                with (self.root / key).open("rb", buffering=0) as file:
                    return _exactly(file.fileno(), start, length)
            return bytes(obstore.get_range(self._store, key, start=start, end=start + length))

    def stream(self, key: str, chunk: int) -> Iterator[bytes]:
        """All bytes, in parts of about ``chunk``."""
        with self._told():
            for part in obstore.get(self._store, key).stream(min_chunk_size=chunk):
                yield bytes(part)

    def size(self, key: str) -> int:
        """Bytes of an object."""
        with self._told():
            if self.root is not None:
                # Asked several times for each file; the library's own way takes a hundred times as long.
                found = (self.root / key).stat()
                if not stat.S_ISREG(found.st_mode):
                    raise FileNotFoundError(key)
                return found.st_size
            return obstore.head(self._store, key)["size"]

    def objects(self, prefix: str) -> Iterator[Object]:
        """All objects below ``prefix``, in no order."""
        with self._told(bucket=True):
            # One of its overloads speaks of Arrow, which is not installed.
            listed = obstore.list(self._store, prefix, chunk_size=1000)  # pyright: ignore[reportUnknownMemberType]
            for batch in listed:
                for found in batch:
                    yield Object(found["path"], found["size"], found["last_modified"].timestamp())

    def now(self) -> float:
        """Seconds since the epoch by the clock that dates its objects."""
        if self.root is not None:
            return time.time()
        key = f"clock/{secrets.token_hex(8)}"
        try:
            with self._told():
                obstore.put(self._store, key, b"", use_multipart=False)
                return obstore.head(self._store, key)["last_modified"].timestamp()
        finally:
            self.delete(key)

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when it is not there."""
        try:
            with self._told():
                obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    @contextmanager
    def _told(self, *, bucket: bool = False) -> Generator[None, None, None]:
        """The library's errors as ours. ``bucket``: nothing but the bucket itself can be what is not there."""
        try:
            yield
        except FileNotFoundError as error:
            if self.root is not None or not bucket:
                raise
            raise Unavailable(
                f"There is no bucket for {self.name}; make it, or mend its name in the setting blobs.",
                retry_after=10.0,
            ) from error
        except (OSError, BaseError) as error:
            if self.root is not None:
                raise disk_error(error, self.root) or error from error
            raise error_of(error, self.name, retry_after=10.0) from error


def _exactly(descriptor: int, start: int, length: int) -> bytes:
    data = os.pread(descriptor, length, start)
    while len(data) < length and (more := os.pread(descriptor, length - len(data), start + len(data))):
        data += more
    return data


def remove(path: Path) -> None:
    """Remove a file; nothing happens when it is not there."""
    try:
        os.unlink(path)  # noqa: PTH108 - one call
    except FileNotFoundError:
        return
