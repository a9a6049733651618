"""The flow of an upload: what the platform has not got is sent, large files in parts, and sent on after a break."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from modelyard.client.answers import UploadInfo, decode, error_of
from modelyard.client.flows import Session, part
from modelyard.client.local_files import LocalFile
from modelyard.client.steps import Call, Flow, Refused, Reply, Together, Wait
from modelyard.core.errors import Conflict, Deadline, Unavailable
from modelyard.core.job import JobEvent
from modelyard.core.manifest import Manifest

OnEvent = Callable[[JobEvent], None]
AT_ONCE = 4  # requests under way at a time
SEVERAL = 64  # that are given to the transport at a time
PATIENCE = 60.0  # seconds without a byte that arrived (the control plane restarts) before giving up
_SLOW = 600.0  # seconds that a request may take: the platform reads a large file once more at its end


class _Piece(NamedTuple):
    """What one request sends: a whole file, or with ``number`` a part of one."""

    digest: str
    file: LocalFile
    span: tuple[int, int]
    number: int | None

    @property
    def size(self) -> int:
        return self.span[1] - self.span[0]


def send(
    session: Session, files: list[LocalFile], manifest: Manifest, on_event: OnEvent
) -> Flow[UploadInfo]:
    """Have the bytes of ``manifest`` at the platform; the upload that has them.

    What has arrived stays when this is killed: the next time only the rest is sent. Raises Unavailable when the
    platform stays away, and what it says of the files.
    """
    reply = yield from session.api("POST", "/uploads", {"files": manifest.files})
    upload = decode(reply.body, UploadInfo)
    if not upload.missing:
        on_event(event("stage_done", "upload", "Nothing to send: the platform has these files"))
        return upload
    places = {file.path: file for file in files}
    # One copy of each: the same bytes may stand under several paths.
    wanted = {entry.sha256: places[entry.path] for entry in manifest.files}
    missing = [wanted[digest] for digest in upload.missing]
    total = sum(file.size for file in missing)
    on_event(event("stage_started", "upload", f"Sending {len(missing)} file(s)", 0, total))
    heard, wait = time.monotonic(), 0.1
    while upload.missing:
        pieces = _missing(upload, wanted)
        left = sum(piece.size for piece in pieces)
        arrived, failure = yield from _round(session, upload, pieces, total, total - left, on_event)
        if failure is None:
            failure = yield from _assemble(session, upload, wanted)
        if failure is None:
            break
        if arrived:
            heard, wait = time.monotonic(), 0.1
        if time.monotonic() - heard > PATIENCE:
            raise Unavailable(
                f"The platform went away during the upload ({failure}); deploy again to go on with it."
            ) from failure
        yield Wait(wait)
        wait = min(2.0, 2 * wait)
        upload = (yield from _look(session, upload)) or upload
    on_event(event("stage_done", "upload", f"{len(missing)} file(s)", total, total))
    return upload


def _missing(upload: UploadInfo, wanted: dict[str, LocalFile]) -> list[_Piece]:
    """What has to be sent, by what the platform said last."""
    pieces: list[_Piece] = []
    for digest in upload.missing:
        file, size = wanted[digest], upload.part_size
        if not _in_parts(upload, file):
            pieces.append(_Piece(digest, file, (0, file.size), None))
            continue
        come = set(upload.parts.get(digest, ()))
        for number, first in enumerate(range(0, file.size, size)):
            if number not in come:
                pieces.append(_Piece(digest, file, (first, min(first + size, file.size)), number))
    return pieces


def _in_parts(upload: UploadInfo, file: LocalFile) -> bool:
    return 0 < upload.part_size < file.size


def _round(
    session: Session, upload: UploadInfo, pieces: list[_Piece], total: int, done: int, on_event: OnEvent
) -> Flow[tuple[bool, Exception | None]]:
    """Send ``pieces``; whether any arrived, and what kept the others from it. Raises what is not passing."""
    arrived = False

    for start in range(0, len(pieces), SEVERAL):
        several = pieces[start : start + SEVERAL]
        place = session.location
        root = f"{place.url}/api/v1/uploads/{part(upload.id)}/blobs"

        def call(piece: _Piece, root: str = root, key: str | None = place.key) -> Call:
            tail = "" if piece.number is None else f"/parts/{piece.number}"
            url = f"{root}/{piece.digest}{tail}"
            return Call("PUT", url, key, file=piece.file, span=piece.span, timeout=_SLOW)

        def answered(number: int, reply: Reply, several: list[_Piece] = several) -> None:
            nonlocal arrived, done
            if reply.status < 400:
                arrived = True
                done += several[number].size
                on_event(event("progress", "upload", "bytes", done, total))

        outcomes = yield Together([call(piece) for piece in several], AT_ONCE, answered)
        for outcome in outcomes:
            failure = _passing(outcome)
            if failure is not None:
                return arrived, failure
    return arrived, None


def _assemble(session: Session, upload: UploadInfo, wanted: dict[str, LocalFile]) -> Flow[Exception | None]:
    """Have the files that came in parts put together; what kept them from it."""
    for digest in upload.missing:
        if not _in_parts(upload, wanted[digest]):
            continue
        place = session.location
        url = f"{place.url}/api/v1/uploads/{part(upload.id)}/blobs/{digest}"
        try:
            outcome: Any = yield Call("POST", url, place.key, timeout=_SLOW)
        except (Refused, Unavailable, Deadline) as error:
            outcome = error
        failure = _passing(outcome)
        if failure is not None:
            return failure
    return None


def _look(session: Session, upload: UploadInfo) -> Flow[UploadInfo | None]:
    """The upload as it stands; None while the platform is away."""
    session.relocate()
    try:
        return (yield from session.ask(UploadInfo, f"/uploads/{part(upload.id)}"))
    except (Unavailable, Deadline):
        return None


def _passing(outcome: Any) -> Exception | None:
    """The error of ``outcome`` that may not come again; raises any other."""
    if not isinstance(outcome, Reply):
        if isinstance(outcome, (Refused, Deadline, Unavailable)):
            return outcome
        raise outcome
    if outcome.status < 400:
        return None
    error = error_of(outcome.status, outcome.headers, outcome.body)
    # A disk that is full is told at once; who says when to come again is asked again.
    if isinstance(error, Conflict) or error.retry_after is not None:
        return error
    raise error


def event(
    kind: Any, stage: str, message: str, current: float | None = None, total: float | None = None
) -> JobEvent:
    """An event of what happens on this side, before there is a job (``job`` is empty, sequence 0)."""
    return JobEvent(
        job="", sequence=0, time=time.time(), kind=kind, stage=stage, message=message,
        current=current, total=total,
    )  # fmt: skip
