"""The flow of a pull: the files of a version, in pieces, into a folder that is whole or not there."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from modelyard.client.answers import error_of
from modelyard.client.flows import Session, part
from modelyard.client.registry_flows import Named, find
from modelyard.client.steps import Call, Flow, Reply, Together, Work
from modelyard.client.upload_flow import OnEvent, event
from modelyard.core.errors import Conflict, RejectedContent
from modelyard.core.manifest import FileEntry, check_path
from modelyard.core.model import Version

_PIECE = 8 * 1024 * 1024  # bytes that are asked for at once
_AT_ONCE = 4


class Pulled(NamedTuple):
    """A version, and the folder with its files."""

    version: Version
    folder: Path


class _Span(NamedTuple):
    """A part of a file."""

    entry: FileEntry
    first: int


def pull(session: Session, named: Named, to: Path | None, on_event: OnEvent) -> Flow[Pulled]:
    """Have the files of a version in the folder ``to`` (default: called after it), which must not be there.

    What came before this was broken off stays beside it, and is not asked for again. Raises NotFound, Conflict for a
    folder that is there, RejectedContent for bytes that are not those of the version.
    """
    version = yield from find(session, named)
    folder = (to or Path(f"{version.model}-{version.number}")).absolute()
    for entry in version.manifest.files:
        check_path(entry.path)  # whatever a server says, nothing is written beside the folder
    if folder.exists():
        raise Conflict(f"{folder} is there already; name another folder, or remove it.", field="to")
    coming = folder.with_name(f".{folder.name}.{version.digest[:12]}.partial")
    missing: list[FileEntry] = yield Work(lambda: _missing(version, coming))
    total, done = version.manifest.size, version.manifest.size - sum(each.size for each in missing)
    on_event(event("stage_started", "download", f"Fetching {len(missing)} file(s)", done, total))
    spans = [_Span(entry, first) for entry in missing for first in range(0, entry.size, _PIECE)]
    for start in range(0, len(spans), _AT_ONCE):
        several = spans[start : start + _AT_ONCE]
        outcomes = yield Together([_call(session, version, each) for each in several], _AT_ONCE, _ignore)
        for span, outcome in zip(several, outcomes, strict=True):
            body = _body(outcome)
            yield Work(_writing(coming / span.entry.path, span.first, body))
            done += len(body)
        on_event(event("progress", "download", "bytes", done, total))
    yield Work(lambda: _check(missing, coming))
    yield Work(lambda: coming.rename(folder))
    on_event(event("stage_done", "download", f"{len(version.manifest.files)} file(s)", total, total))
    return Pulled(version, folder)


def _missing(version: Version, coming: Path) -> list[FileEntry]:
    """What has not come yet; the rest has the right bytes."""
    coming.mkdir(parents=True, exist_ok=True)
    return [entry for entry in version.manifest.files if not _is_whole(coming / entry.path, entry)]


def _is_whole(path: Path, entry: FileEntry) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != entry.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256


def _call(session: Session, version: Version, span: _Span) -> Call:
    place = session.location
    path = quote(span.entry.path)
    length = min(_PIECE, span.entry.size - span.first)
    url = f"{place.url}/api/v1/models/{part(version.model)}/versions/{version.number}/files/{path}"
    return Call("GET", f"{url}?offset={span.first}&length={length}", place.key, timeout=600.0)


def _body(outcome: Reply | Exception) -> bytes:
    if isinstance(outcome, Exception):
        raise outcome
    if outcome.status >= 400:
        raise error_of(outcome.status, outcome.headers, outcome.body)
    return outcome.body


def _writing(path: Path, first: int, body: bytes) -> Callable[[], None]:
    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "x+b") as file:
            file.seek(first)
            file.write(body)

    return write


def _check(missing: list[FileEntry], coming: Path) -> None:
    for entry in missing:
        path = coming / entry.path
        if entry.size == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        elif path.stat().st_size > entry.size:  # of a try that wrote another file there
            with path.open("r+b") as file:
                file.truncate(entry.size)
        if not _is_whole(path, entry):
            shutil.rmtree(coming, ignore_errors=True)
            raise RejectedContent(
                f"{entry.path} did not come as the version has it; pull again.", field=entry.path
            )


def _ignore(number: int, reply: Reply) -> None:
    """Pieces are written in their order, when several have come."""
