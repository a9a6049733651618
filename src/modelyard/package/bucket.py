"""The files of a model in a bucket: of S3 (or what speaks its protocol), Google Cloud Storage, Azure Blob Storage.

Who we are, the usual variables of each say: ``AWS_*``; ``GOOGLE_APPLICATION_CREDENTIALS`` (or the machine's own account);
``AZURE_STORAGE_ACCOUNT_NAME`` with a key, a token or a principal (``AZURE_*``). Addresses carry no secrets.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from modelyard.core.errors import Forbidden, InvalidInput, NotFound, RejectedContent, TooLarge, Unavailable
from modelyard.core.manifest import check_path
from modelyard.package.meter import Meter, check_room
from modelyard.package.partial import Partial
from modelyard.package.uv import Progress
from modelyard.store.bucket import may_be_plain

_ADDRESS: Final = re.compile(r"(s3|gs|az)://([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_RANGE: Final = 16 << 20  # bytes that are asked for at once
_AT_ONCE: Final = 4  # files under way
_MOST: Final = 20_000  # files of one model
_TELLS: Final = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


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


def is_bucket(source: str) -> bool:
    """Whether ``source`` names a bucket or what is in one."""
    return re.match(r"(s3|gs|az)://", source) is not None


class Bucket:
    """What ``address`` names: ``s3://bucket/prefix``, ``gs://…``, ``az://container/prefix``. Raises InvalidInput."""

    def __init__(self, address: str) -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None or "?" in address or "#" in address:
            raise InvalidInput(
                "A bucket is named as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX; keys and tokens "
                "stand in the environment's variables, not in the address.",
                field="source",
            )
        self.scheme, bucket, prefix = found[1], found[2], (found[3] or "").strip("/")
        self.address = f"{self.scheme}://{bucket}/{prefix}".rstrip("/")
        self.prefix = prefix
        self.name = prefix.rpartition("/")[2] or bucket
        with self._understood():
            self._store = _store(self.scheme, bucket)

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
        etag = str(meta.get("e_tag") or meta.get("last_modified") or "").strip('"')
        return Object(key, path, int(meta["size"]), etag)

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
        name = hashlib.sha256(each.path.encode()).hexdigest()[:16]
        with Partial(to.with_name(f".{name}.partial"), most=each.size) as partial:
            counter.add(partial.size)
            told: object = None
            while partial.size < each.size:
                counter.check()
                end = min(each.size, partial.size + _RANGE)
                with self._understood():
                    options: dict[str, Any] = {"range": (partial.size, end)}
                    if (
                        each.etag and self.scheme != "gs"
                    ):  # there an ETag is no condition but its generation is
                        options["if_match"] = f'"{each.etag}"' if self.scheme == "s3" else each.etag
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

    def _changed(self, each: Object) -> RejectedContent:
        return RejectedContent(f"{self.address}: {each.path} changed while it came; try again.")

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """The library's errors as ours."""
        from obstore import exceptions

        try:
            yield
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise Forbidden(
                f"{self.address} is not given to us: look at {_TELLS[self.scheme]}, and at what they may."
            ) from error
        except exceptions.PreconditionError as error:
            raise RejectedContent(f"{self.address} changed while it came; try again.") from error
        except FileNotFoundError as error:
            raise NotFound(f"There is no {self.address}.", field="source") from error
        except exceptions.BaseError as error:
            why = " ".join(str(error).partition("Debug source")[0].split())
            raise Unavailable(
                f"{self.address} cannot be used: {_told(why)} Look at {_TELLS[self.scheme]}.",
                retry_after=30.0,
            ) from error


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


def _sha256(told: object) -> str | None:
    return told if isinstance(told, str) and re.fullmatch(r"[0-9a-f]{64}", told) else None


def _told(why: str) -> str:
    said = re.search(r"<Message>([^<]*)</Message>", why)
    return (said[1] if said else re.sub(r"(?<=://)[^/@\s]+@|\?\S*", "", why))[:300].rstrip(".") + "."


def _store(scheme: str, bucket: str) -> Any:
    from obstore.store import AzureStore, GCSStore, S3Store

    retry: Any = {"max_retries": 5, "retry_timeout": timedelta(minutes=2)}
    if scheme == "s3":
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        client: Any = {"allow_http": may_be_plain(), "timeout": timedelta(minutes=10)}
        return S3Store(bucket, region=region, client_options=client, retry_config=retry)
    if scheme == "gs":
        return GCSStore(bucket, retry_config=retry)
    return AzureStore(container_name=bucket, retry_config=retry)
