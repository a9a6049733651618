"""The jobs of a node: taken, computed when there is room, kept until their answers have been fetched.

A job is a request of any protocol whose answer is kept: ``answer`` is the same surface that callers who wait
go through. Its calls are bulk work (:mod:`modelyard.policy.scheduler`). It is on disk before its caller hears of
it; a node that was stopped or killed begins anew what had not ended, up to ATTEMPTS times.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec

from modelyard.core.errors import (
    Cancelled,
    Conflict,
    Internal,
    ModelyardError,
    NotFound,
    Overloaded,
    Unavailable,
)
from modelyard.core.job import JobState, PredictionJob
from modelyard.serve.http import Request, Response
from modelyard.serve.jobs.kept import JobFolder, Kept, kept_of
from modelyard.serve.jobs.lane import Lane

log = logging.getLogger("modelyard.jobs")

MOST = 10_000  # jobs that are kept; the oldest that have ended make room
AT_A_TIME = 16  # of one endpoint, whose requests are in memory; twice its replicas if that is more
ATTEMPTS = 3  # to compute a job during which the node ended
LONGEST_PAUSE = 30.0  # seconds before a job that found its endpoint full or away tries again
SWEEP = 60.0  # seconds between two looks at what has expired
_TRY_AGAIN = frozenset({Overloaded.code, Unavailable.code})


class Jobs:
    """``answer`` computes a request, ``replicas`` says how many an endpoint has, ``patience`` how long a job of it
    may take in all, in seconds. Construct it inside the loop; :meth:`start` takes up what is on disk."""

    def __init__(
        self,
        folder: Path,
        answer: Callable[[Request], Awaitable[Response]],
        replicas: Callable[[str], int],
        patience: Callable[[str], float],
        *,
        expiry: float,
    ) -> None:
        self._folder = JobFolder(folder)
        self._answer = answer
        self._replicas = replicas
        self._patience = patience
        self._expiry = expiry
        self._kept: dict[str, Kept] = {}
        self._lanes: dict[str, Lane] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = False
        self.counts: dict[tuple[str, str], int] = {}  # (endpoint, state) -> jobs that ended so

    async def start(self) -> None:
        """Go on with what a node before this one left."""
        for kept in await asyncio.to_thread(self._folder.load):
            job = kept.job
            self._kept[job.id] = kept
            if job.over:
                continue
            if job.attempts >= ATTEMPTS:
                error = Internal(f"The node ended {job.attempts} times while it computed this job.")
                await self._end(kept, "failed", error=error)
            else:
                self._change(kept, state="queued", progress=None, message="")
                self._lane(job.endpoint).join(job.id)
        self._sweeper = asyncio.create_task(self._sweep(), name="sweep jobs")

    async def close(self) -> None:
        """Stop computing; what has not ended is taken up by the next start."""
        self._closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for lane in self._lanes.values():
            await lane.close()

    # --- for callers

    async def accept(self, request: Request, endpoint: str) -> PredictionJob:
        """Keep a request that was checked. Raises Overloaded when too many wait, Unavailable when it cannot be
        kept on disk."""
        if len(self._kept) >= MOST and not await self._make_room():
            raise Overloaded(f"{MOST} jobs wait here already; come back later.", retry_after=60.0)
        kept = kept_of(request, endpoint)
        try:
            await asyncio.to_thread(self._folder.create, kept, bytes(request.body))
        except OSError as error:
            raise Unavailable(f"The job cannot be kept on disk: {error}.") from error
        self._kept[kept.job.id] = kept
        self._lane(endpoint).join(kept.job.id)
        return kept.job

    def job(self, id: str, client: str) -> PredictionJob:
        """How a job stands. Raises NotFound, for those of other clients too."""
        return self._of(id, client).job

    def jobs(self, client: str) -> list[PredictionJob]:
        """All of a client's, the newest first."""
        return [kept.job for kept in reversed(self._kept.values()) if kept.client == client]

    async def wait(self, id: str, client: str, seconds: float) -> PredictionJob:
        """The same as :meth:`job` once it has ended, or after so many seconds."""
        kept = self._of(id, client)
        if not kept.job.over:
            event = self._ended.setdefault(id, asyncio.Event())
            try:
                async with asyncio.timeout(seconds):
                    await event.wait()
            except TimeoutError:
                pass
        return kept.job

    async def answer_of(self, id: str, client: str) -> Response:
        """What was answered. Raises the job's error, and Conflict while it has not ended or when it was cancelled."""
        kept = self._of(id, client)
        job = kept.job
        if job.state == "cancelled":
            raise Conflict(f"The job {id} was cancelled; it has no answer.")
        if not job.over:
            raise Conflict(f"The job {id} is {job.state}; its answer is not there yet.", retry_after=1.0)
        if job.state == "failed":
            return Response(msgspec.json.encode(job.error), status=job.status or 500)
        try:
            return await asyncio.to_thread(self._folder.read_answer, kept)
        except OSError as error:
            raise Internal(f"The answer of the job {id} cannot be read: {error}.") from error

    async def cancel(self, id: str, client: str) -> PredictionJob:
        """End a job that has not ended; forget one that has."""
        kept = self._of(id, client)
        if kept.job.over:
            await self._forget(id)
            return kept.job
        if not self._lane(kept.job.endpoint).leave(id):
            await self._end(kept, "cancelled")
        else:
            await self.wait(id, client, 10.0)
        return kept.job

    def waiting(self) -> dict[tuple[str, str], int]:
        """How many jobs there are of each endpoint and state that has not ended."""
        counts: dict[tuple[str, str], int] = {}
        for kept in self._kept.values():
            if not kept.job.over:
                key = (kept.job.endpoint, kept.job.state)
                counts[key] = counts.get(key, 0) + 1
        return counts

    # --- inside

    def _of(self, id: str, client: str) -> Kept:
        kept = self._kept.get(id)
        if kept is None or kept.client != client:
            raise NotFound(
                f"There is no job {id[:64]!r} here; the answers of jobs are kept for a time only."
            )
        return kept

    def _lane(self, endpoint: str) -> Lane:
        lane = self._lanes.get(endpoint)
        if lane is None:
            lane = Lane(self._run, lambda: max(AT_A_TIME, 2 * self._replicas(endpoint)))
            self._lanes[endpoint] = lane
        return lane

    async def _run(self, id: str) -> None:
        """One job, from its turn to its end."""
        kept = self._kept[id]
        job = kept.job
        self._change(kept, state="running", attempts=job.attempts + 1, started=job.started or time.time())
        try:
            await asyncio.to_thread(self._folder.save, kept)
            response = await self._answered(kept)
            await asyncio.to_thread(self._folder.answer, kept, response)
        except asyncio.CancelledError:
            if self._closing:  # told to stop, which is no attempt that failed
                self._change(kept, state="queued", attempts=job.attempts)
                self._folder.save(kept)
                raise
            await self._end(kept, "cancelled")
        except ModelyardError as error:
            await self._end(kept, "failed", error=error)
        except OSError as error:
            await self._end(
                kept, "failed", error=Unavailable(f"The answer cannot be kept on disk: {error}.")
            )
        except Exception:
            log.exception("a job failed by an error of ours", extra={"job": id})
            await self._end(kept, "failed", error=Internal("The node failed; its log says more."))
        else:
            kept.content_type = response.content_type.decode("latin-1")
            kept.answer_headers = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers
            ]
            self._change(kept, status=response.status, size=len(response.body), progress=1.0)
            await self._end(kept, "done")

    async def _answered(self, kept: Kept) -> Response:
        """The answer; where its endpoint is full or away, that is waited for."""
        job, pause = kept.job, 0.5
        until = job.created + self._patience(job.endpoint)
        while True:
            request = await asyncio.to_thread(self._folder.request, kept)
            request.progress = partial(self._told, kept)
            try:
                return await self._answer(request)
            except ModelyardError as error:
                if error.code not in _TRY_AGAIN or time.time() >= until:
                    raise
                self._change(kept, progress=None, message=f"waits: {error.message}"[:500])
                wait = max(pause, min(error.retry_after or 0.0, LONGEST_PAUSE))
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _told(self, kept: Kept, fraction: float | None, message: str) -> None:
        self._change(kept, progress=fraction, message=message)

    def _change(self, kept: Kept, **changes: object) -> None:
        kept.job = msgspec.structs.replace(kept.job, **changes)

    async def _end(self, kept: Kept, state: JobState, *, error: ModelyardError | None = None) -> None:
        now = time.time()
        self._change(kept, state=state, ended=now, expires=now + self._expiry)
        if error is not None:
            self._change(kept, status=error.kind.http, error=error.body(kept.job.id))
        elif state == "cancelled":
            self._change(kept, error=Cancelled("The job was cancelled.").body(kept.job.id))
        key = (kept.job.endpoint, state)
        self.counts[key] = self.counts.get(key, 0) + 1
        try:
            await asyncio.to_thread(self._folder.save, kept, durable=True)
            await asyncio.to_thread(self._folder.settle, kept.job.id)
        except OSError as failure:
            log.error("the end of a job is not on disk", extra={"job": kept.job.id, "why": str(failure)})
        if (event := self._ended.pop(kept.job.id, None)) is not None:
            event.set()

    async def _forget(self, id: str) -> None:
        self._kept.pop(id, None)
        await asyncio.to_thread(self._folder.remove, id)

    async def _make_room(self) -> bool:
        """Whether a job that has ended was dropped for another."""
        oldest = next((id for id, kept in self._kept.items() if kept.job.over), None)
        if oldest is not None:
            await self._forget(oldest)
        return oldest is not None

    async def _sweep(self) -> None:
        while True:
            now = time.time()
            for id, kept in list(self._kept.items()):
                if kept.job.expires is not None and kept.job.expires <= now:
                    await self._forget(id)
            await asyncio.sleep(SWEEP)
