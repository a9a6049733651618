"""A job on disk: a folder with what was asked, how it stands, and the answer.

    <home>/jobs/<id>/job.json   the job, and all of its request but the body
    <home>/jobs/<id>/request    the body that was posted
    <home>/jobs/<id>/answer     the body of the answer

Methods block; the node calls them in a thread. A job is there once ``job.json`` is, which is written last and
replaced whole, so a node that is killed at any instant finds each job as it was, or not at all.
"""

import contextlib
import logging
import re
import secrets
import shutil
import time
from pathlib import Path

import msgspec

from modelyard.core.job import PredictionJob
from modelyard.host.files import write_whole
from modelyard.serve.http import Request, Response

log = logging.getLogger("modelyard.jobs")

ID = re.compile(r"p[0-9a-f]{24}")
# Not of the prediction, but of the connection that it came by.
_NOT_KEPT = frozenset({
    b"prefer", b"authorization", b"host", b"origin", b"cookie", b"content-length", b"content-encoding", b"transfer-encoding",
    b"accept-encoding", b"connection", b"expect", b"traceparent", b"tracestate",
})  # fmt: skip


class Kept(msgspec.Struct):
    """What is in ``job.json``."""

    job: PredictionJob
    query: str
    headers: list[tuple[str, str]]
    client: str
    content_type: str = ""
    answer_headers: list[tuple[str, str]] = []


def new_id() -> str:
    """Nobody can guess it; later ones sort later; the ``p`` tells it from a job of the pipeline."""
    return f"p{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


def kept_of(request: Request, endpoint: str) -> Kept:
    """A new job for ``request``."""
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.headers.items()
        if name not in _NOT_KEPT
    ]
    job = PredictionJob(
        id=new_id(), endpoint=endpoint, path=request.path, state="queued", created=time.time()
    )
    return Kept(job, request.query, headers, request.client)


class JobFolder:
    """All jobs of a node."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, kept: Kept, body: bytes) -> None:
        """Keep a new one. Raises OSError, and leaves nothing then."""
        folder = self._root / kept.job.id
        try:
            write_whole(folder / "request", body, durable=True)
            self.save(kept, durable=True)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def save(self, kept: Kept, *, durable: bool = False) -> None:
        """How it stands now. Raises OSError."""
        write_whole(self._root / kept.job.id / "job.json", msgspec.json.encode(kept), durable=durable)

    def answer(self, kept: Kept, response: Response) -> None:
        """Keep the answer. Raises OSError."""
        write_whole(self._root / kept.job.id / "answer", response.body, durable=True)

    def request(self, kept: Kept) -> Request:
        """What was asked. Raises OSError."""
        body = (self._root / kept.job.id / "request").read_bytes()
        headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in kept.headers}
        request = Request("POST", kept.job.path, kept.query, headers, kept.job.id, body)
        request.client = kept.client
        return request

    def read_answer(self, kept: Kept) -> Response:
        """The answer as it was given. Raises OSError."""
        return Response(
            (self._root / kept.job.id / "answer").read_bytes(),
            status=kept.job.status or 200,
            content_type=kept.content_type.encode("latin-1"),
            headers=tuple(
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.answer_headers
            ),
        )

    def settle(self, id: str) -> None:
        """Once it has ended, its request is not needed any more."""
        with contextlib.suppress(OSError):
            (self._root / id / "request").unlink(missing_ok=True)

    def remove(self, id: str) -> None:
        """Forget it."""
        # Away from its name first, so that a removal that is cut short leaves no half of a job.
        gone = self._root / f".gone-{id}"
        with contextlib.suppress(OSError):
            (self._root / id).replace(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def load(self) -> list[Kept]:
        """All of them, in the order in which they came; what is no job is removed."""
        found: list[Kept] = []
        try:
            names = sorted(path.name for path in self._root.iterdir())
        except OSError:
            return found
        for name in names:
            path = self._root / name
            if not ID.fullmatch(name):
                if name.startswith(".gone-"):
                    shutil.rmtree(path, ignore_errors=True)
                continue
            try:
                found.append(msgspec.json.decode((path / "job.json").read_bytes(), type=Kept))
            except (OSError, msgspec.DecodeError) as error:
                log.warning("a job that cannot be read is dropped", extra={"job": name, "why": str(error)})
                shutil.rmtree(path, ignore_errors=True)
        return found
