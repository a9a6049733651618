"""The files of a model in a bucket: of S3 (or what speaks its protocol), Google Cloud Storage, Azure Blob Storage.

Who we are, the usual variables of each say (``store/clouds.py``). Addresses carry no secrets.
"""

import contextlib
import hashlib
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from modelyard.core.errors import InvalidInput, NotFound, RejectedContent, TooLarge, Unavailable
from modelyard.core.manifest import check_path
from modelyard.package.meter import Meter, check_room
from modelyard.package.partial import Partial
from modelyard.package.uv import Progress
from modelyard.store.clouds import connect, error_of, is_bucket, parse_bucket

__all__ = ["Bucket", "is_bucket"]

_RANGE: Final = 16 << 20  # bytes that are asked for at once
_AT_ONCE: Final = 4  # files under way
_MOST: Final = 20_000  # files of one model


class Object(NamedTuple):
    """One object: its key, its ``path`` in the model, its bytes, and what changes when it does."""

    key: str
    path: str
    size: int
    etag: str


class Listing(NamedTuple):
    """What is at an address now. ``revision`` is the object's ETag, of several a digest of all of theirs."""

    objects: tuple[Object, ...]
    revision: str
    single: bool


class Bucket:
    """What ``address`` names: ``s3://bucket/prefix``, ``gs://…``, ``az://container/prefix``. Raises InvalidInput."""

    def __init__(self, address: str) -> None:
        named = parse_bucket(address, field="source")
        self.scheme, self.prefix, self.address = named.scheme, named.prefix, named.address
        self.name = named.prefix.rpartition("/")[2] or named.bucket
        self._store: Any = connect(named, below=False, field="source")

    def look(self) -> Listing:
        """What is there now. Raises NotFound, TooLarge for more files than a model has, RejectedContent for a key that can be
        no path."""
        import obstore

        found: list[dict[str, Any]] = []
        with self._understood():
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                if self.prefix:
                    found = [dict(obstore.head(self._store, self.prefix))]
            single = bool(found)
            if not single:
                for some in obstore.list(self._store, self.prefix or None):
                    found += [dict(each) for each in some]
                    if len(found) > _MOST:
                        raise TooLarge(
                            f"There are more than {_MOST} objects below {self.address}; name the folder of one model."
                        )
        objects = sorted(self._object(each, single) for each in found if not each["path"].endswith("/"))
        if not objects:
            raise NotFound(f"There is nothing at {self.address}.", field="source")
        if single:
            revision = objects[0].etag
        else:
            told = "\n".join(f"{each.path}\0{each.size}\0{each.etag}" for each in objects)
            revision = hashlib.sha256(told.encode()).hexdigest()
        return Listing(tuple(objects), revision, single)

    def _object(self, meta: dict[str, Any], single: bool) -> Object:
        key = str(meta["path"])
        path = key.rpartition("/")[2] if single else key[len(self.prefix) :].lstrip("/")
        try:
            check_path(path)
        except InvalidInput as error:
            raise RejectedContent(
                f"{self.address} has an object whose key can be no path: {key[:100]!r}."
            ) from error
        return Object(key, path, int(meta["size"]), _etag(meta))

    def fetch(self, listing: Listing, place: Path, *, progress: Progress) -> dict[str, str]:
        """Have the objects in the new folder ``place``; their SHA-256 by path. Several come at a time.

        What was fetched stays beside ``place`` when this is broken off, and is gone on with. Raises Unavailable,
        RejectedContent for an object that changed meanwhile, or is not what its own checksum says.
        """
        key = hashlib.sha256(listing.revision.encode()).hexdigest()[:12]
        coming = place.with_name(f".{place.name}.{key}.coming")
        for other in place.parent.glob(f".{place.name}.*.coming"):
            if other != coming:
                shutil.rmtree(other, ignore_errors=True)  # of what was there another day
        total = sum(each.size for each in listing.objects)
        there = sum(
            each.stat().st_size for each in coming.rglob("*") if each.is_file() and not each.is_symlink()
        )
        check_room(coming, max(0, total - there))
        progress(f"fetching {len(listing.objects)} file(s) of {self.address}")
        counter = _Counter(Meter(total, progress))
        digests: dict[str, str] = {}

        def one(each: Object) -> tuple[str, str]:
            return each.path, self._file(each, coming, counter)

        with ThreadPoolExecutor(_AT_ONCE) as threads:
            futures = [threads.submit(one, each) for each in listing.objects]
            try:
                digests.update(future.result() for future in futures)
            except BaseException:
                counter.stop = True
                threads.shutdown(wait=True, cancel_futures=True)
                raise
        coming.rename(place)
        return digests

    def _file(self, each: Object, coming: Path, counter: "_Counter") -> str:
        import obstore

        to = coming / each.path
        to.parent.mkdir(parents=True, exist_ok=True)
        if to.is_file() and to.stat().st_size == each.size:  # whole, of an earlier try
            counter.add(each.size)
            with to.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        generation = self._generation(each)
        name = hashlib.sha256(f"{each.path}\0{generation}".encode()).hexdigest()[:16]
        with Partial(to.with_name(f".{name}.partial"), most=each.size) as partial:
            counter.add(partial.size)
            told: object = None
            while partial.size < each.size:
                counter.check()
                end = min(each.size, partial.size + _RANGE)
                options: dict[str, Any] = {"range": (partial.size, end)}
                if generation is not None:
                    options["version"] = generation
                elif each.etag:
                    options["if_match"] = f'"{each.etag}"' if self.scheme == "s3" else each.etag
                with self._understood():
                    try:
                        got = obstore.get(self._store, each.key, options=options)  # pyright: ignore[reportArgumentType]
                    except FileNotFoundError:
                        raise self._changed(each) from None
                    piece = bytes(got.bytes())
                    told = got.attributes.get("sha256")
                if got.meta["size"] != each.size or len(piece) != end - partial.size:
                    raise self._changed(each)
                partial.write(piece)
                counter.add(len(piece))
            return partial.finish(to, sha256=_sha256(told))

    def _generation(self, each: Object) -> str | None:
        """Google's number of what an object is now, which holds all of its ranges together; None of other clouds. (There
        nobody promises that the ETag of a listing is the one that a condition takes.)"""
        import obstore

        if self.scheme != "gs":
            return None
        with self._understood():
            try:
                found = obstore.head(self._store, each.key)
            except FileNotFoundError:
                raise self._changed(each) from None
        if found["size"] != each.size:
            raise self._changed(each)
        return found["version"]

    def _changed(self, each: Object) -> RejectedContent:
        return RejectedContent(f"{self.address}: {each.path} changed while it came; try again.")

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """The library's errors as ours."""
        from obstore import exceptions

        try:
            yield
        except exceptions.PreconditionError as error:
            raise RejectedContent(f"{self.address} changed while it came; try again.") from error
        except FileNotFoundError as error:
            raise NotFound(f"There is no {self.address}.", field="source") from error
        except exceptions.BaseError as error:
            raise error_of(error, self.address, retry_after=30.0) from error


class _Counter:
    """Bytes that have come, of all files; ``stop`` ends the others when one failed."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._lock = Lock()
        self._done = 0
        self.stop = False

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._meter.at(self._done)

    def check(self) -> None:
        if self.stop:
            raise Unavailable("It was broken off.")


def _etag(meta: dict[str, Any]) -> str:
    return str(meta.get("e_tag") or meta.get("last_modified") or "").strip('"')


def _sha256(told: object) -> str | None:
    return told if isinstance(told, str) and re.fullmatch(r"[0-9a-f]{64}", told) else None
