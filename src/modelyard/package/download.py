"""A file over HTTPS: streamed, checked while it is written, gone on with where it was broken off.

The protocol is RFC 9110's: a range is asked for with ``If-Range`` and the strong validator that the first
answer had, so that a file which was changed meanwhile comes from its beginning. Redirects go to https alone.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from modelyard.core.addresses import shown
from modelyard.core.errors import RejectedContent, TooLarge, Unavailable
from modelyard.core.units import format_bytes
from modelyard.package import https
from modelyard.package.address import check_web, file_name
from modelyard.package.meter import Meter, check_room
from modelyard.package.partial import Partial
from modelyard.package.uv import Progress
from modelyard.policy.backoff import Backoff

if TYPE_CHECKING:
    import httpx

LARGEST: Final = 1 << 41  # bytes of one file: more than any model today
SLOWEST: Final = (1 << 16, 120.0)  # bytes that come in so many seconds, or the connection counts as broken
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:(\d{1,18})|\*)")


class Downloaded(NamedTuple):
    """``size`` in bytes, ``sha256`` in hex of what is at ``path``; ``validator`` is the server's word on the
    version, for :func:`unchanged`."""

    path: Path
    size: int
    sha256: str
    validator: str | None = None


class _Changed(Exception):
    """What is there does not go on in what the server has; it is thrown away."""


def download(
    url: str,
    folder: Path,
    *,
    name: str | None = None,
    sha256: str | None = None,
    size: int | None = None,
    most: int = LARGEST,
    headers: Mapping[str, str] | None = None,
    plain: bool = False,
    progress: Progress,
) -> Downloaded:
    """The file at ``url`` in ``folder``, called ``name`` or as the server calls it.

    What was broken off is kept in ``folder`` as a hidden ``.partial`` and gone on with. ``sha256`` and
    ``size`` (bytes) are what it must have. ``headers`` go to the host of ``url`` alone. ``plain`` takes http as
    well: for a file whose checksum is known, at a place that this machine is configured with. One process at a time
    downloads into a folder: the caller holds a lock.

    Raises InvalidInput for an address that is not taken, NotFound, Forbidden for one that asks who you are,
    RejectedContent for a page in place of a file and for another checksum or size, TooLarge over ``most``,
    Unavailable when it cannot be had now, or the disk is full.
    """
    check_web(url, plain=plain)
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    coming = _Coming(url, name, sha256, size, dict(headers or {}), folder / f".{key}.json", progress, plain)
    with https.open_client(url) as client:
        while True:
            with Partial(folder / f".{key}.partial", most=most) as partial:
                called = _until_whole(client, coming, partial)
                validator = _kept(coming.validator)
                try:
                    found = partial.finish(folder / called, sha256=sha256)
                except RejectedContent as error:
                    if coming.pieced:  # of pieces that may be of two versions: once more, in one
                        coming.pieced = False
                        continue
                    raise RejectedContent(f"{shown(url)}: {error.message}") from None
                finally:
                    coming.validator.unlink(missing_ok=True)
                return Downloaded(folder / called, partial.size, found, validator)


def unchanged(url: str, validator: str) -> bool:
    """Whether the server still has the version that ``validator`` is of. Raises Unavailable when it cannot be
    asked."""
    name = "If-None-Match" if validator.startswith('"') else "If-Modified-Since"
    try:
        with (
            https.open_client(url) as client,
            https.answer(client, check_web(url), {name: validator}) as response,
        ):
            return response.status_code == 304
    except https.Broken as broken:
        raise Unavailable(f"{shown(url)} cannot be asked: {broken}.", retry_after=30.0) from broken


@dataclass
class _Coming:
    """What :func:`download` was asked for. ``validator``: where the server's word on the version is kept;
    ``pieced``: more than one answer went into the file; ``met``: the server has answered."""

    url: str
    name: str | None
    sha256: str | None
    size: int | None
    headers: dict[str, str]
    validator: Path
    progress: Progress
    plain: bool = False
    pieced: bool = False
    met: bool = False


def _until_whole(client: "httpx.Client", coming: _Coming, partial: Partial) -> str:
    """Fill ``partial``; gives what the file is called."""
    backoff = Backoff(first=https.FIRST_WAIT)
    before = partial.size
    while True:
        try:
            return _attempt(client, coming, partial)
        except _Changed:
            partial.restart()
            coming.validator.unlink(missing_ok=True)
            before = 0
            if backoff.failed(0.0) and backoff.failures >= https.ATTEMPTS:
                raise Unavailable(
                    f"{shown(coming.url)} changes while it is fetched; try again later.", retry_after=60.0
                ) from None
        except https.Broken as broken:
            if partial.size - before >= 1 << 20:  # it goes on, if in pieces
                backoff = Backoff(first=https.FIRST_WAIT)
            before = partial.size
            https.wait(
                backoff, broken, coming.url, attempts=https.ATTEMPTS if coming.met else https.ATTEMPTS // 2
            )
            coming.progress(f"{shown(coming.url)}: {broken}; going on from {format_bytes(partial.size)}")


def _attempt(client: "httpx.Client", coming: _Coming, partial: Partial) -> str:
    headers = dict(coming.headers)
    validator = _kept(coming.validator)
    if partial.size and not (validator or coming.sha256):
        partial.restart()  # nobody could tell whether the rest is of the same file
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        if validator:
            headers["If-Range"] = validator
    with https.answer(client, coming.url, headers, plain=coming.plain) as response:
        coming.met = True
        if response.status_code == 416:
            raise _Changed
        https.check_status(response, coming.url)
        called = coming.name or _name(response, coming.url)
        _check_kind(response, coming.url, called)
        total = _begin(response, coming, partial, validator)
        check_room(partial.path.parent, max(0, (total or 0) - partial.size))
        _stream(response, partial, Meter(total, coming.progress))
    if total is not None and partial.size != total:
        raise https.Broken(f"it ended after {format_bytes(partial.size)} of {format_bytes(total)}")
    if coming.size is not None and partial.size != coming.size:
        partial.restart()
        raise RejectedContent(
            f"{shown(coming.url)} has {partial.size:,} bytes and should have {coming.size:,}; it is not used."
        )
    return called


def _begin(
    response: "httpx.Response", coming: _Coming, partial: Partial, validator: str | None
) -> int | None:
    """Make ``partial`` fit the answer; gives the bytes of the whole file, None where nobody says it."""
    length = response.headers.get("content-length", "")
    if response.status_code == 206:
        told = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if told is None or int(told[1]) != partial.size or not partial.size:
            raise _Changed
        if validator and _validator(response) not in (None, validator):
            raise _Changed  # a server that does not look at If-Range
        coming.pieced = True
        total = int(told[3]) if told[3] else int(told[2]) + 1
    else:
        partial.restart()
        _keep(coming.validator, _validator(response))
        total = int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None
    if total is not None:
        if total > partial.most:
            raise TooLarge(
                f"{shown(coming.url)} has {format_bytes(total)}, more than the {format_bytes(partial.most)} that are taken."
            )
        if coming.size is not None and total != coming.size:
            raise RejectedContent(
                f"{shown(coming.url)} has {total:,} bytes and should have {coming.size:,}; it is not used."
            )
    return total


def _name(response: "httpx.Response", url: str) -> str:
    """What the server calls it, else what the address says: the one that was named, where it says a kind."""
    named = file_name(url)
    said = response.headers.get("content-disposition")
    return file_name(str(response.url) if "." not in named else url, said)


def _stream(response: "httpx.Response", partial: Partial, meter: Meter) -> None:
    least, within = SLOWEST
    since, then = time.monotonic(), partial.size
    with https.understood():
        for piece in response.iter_raw(1 << 18):
            partial.write(piece)
            meter.at(partial.size)
            now = time.monotonic()
            if now - since >= within:
                if partial.size - then < least:
                    raise https.Broken(f"fewer than {format_bytes(least)} came in {within:.0f} s")
                since, then = now, partial.size


def _check_kind(response: "httpx.Response", url: str, called: str) -> None:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not called.lower().endswith((".html", ".htm")):
        raise RejectedContent(
            f"At {shown(url)} there is a page for people, not a file. Open it, and name the address of the file itself."
        )
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("", "identity") and not called.lower().endswith((".gz", ".tgz")):
        raise RejectedContent(
            f"{shown(url)} is sent packed ({packed[:40]}), though it was asked for as it is; it cannot be told what "
            "the file is."
        )


def _validator(response: "httpx.Response") -> str | None:
    """The word by which the server tells one version of the file from another: a strong one, for a range."""
    tag = response.headers.get("etag", "")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("last-modified") if not tag else None


def _kept(path: Path) -> str | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, str) else None


def _keep(path: Path, validator: str | None) -> None:
    if validator is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(json.dumps(validator))
