"""``/jobs``: durable runs, and their stories as a stream of server-sent events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from modelyard.control.api.common import PREFIX, By, Here, IdPath
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.platform import Platform
from modelyard.core.job import Job, JobEvent, JobState
from modelyard.store.database import DatabaseAway

HEARTBEAT = 15.0  # seconds; proxies close a stream on which nothing comes
_LOOK = 1.0  # seconds after which a job is looked at that nobody here may have told of
_ENDS = ("done", "failed", "cancelled")

router = APIRouter(prefix=PREFIX, tags=["jobs"])


@router.get("/jobs", responses=answers(list[Job]), response_model=None)
def list_jobs(
    here: Here,
    by: By,
    state: JobState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> NounResponse:
    """The latest jobs, the newest first."""
    return NounResponse(here.jobs.list(limit, state, project=by.project))


@router.get("/jobs/{id}", responses=answers(Job, "not_found"), response_model=None)
def get_job(here: Here, id: IdPath) -> NounResponse:
    """One job."""
    return NounResponse(here.jobs.get(id))


@router.post(
    "/jobs/{id}/cancel",
    responses=answers(Job, "not_found", "conflict", "unavailable"),
    response_model=None,
)
def cancel_job(here: Here, id: IdPath) -> NounResponse:
    """Cancel a job that has not ended; a deployment that has the traffic already keeps it."""
    cancel(here, id)
    return NounResponse(here.jobs.get(id))


@router.get(
    "/jobs/{id}/events",
    responses={
        200: {
            "description": "Server-sent events: `id` is the sequence, `data` a JobEvent as JSON",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    }
    | failures("not_found"),
    response_class=StreamingResponse,
)
async def follow_job(
    here: Here, id: IdPath, after: Annotated[int, Query(ge=0, le=2**53 - 1)] = 0
) -> StreamingResponse:
    """The events after the sequence ``after``, then each as it happens; ends with the job."""
    await run_in_threadpool(here.jobs.get, id)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_story(here, id, after), media_type="text/event-stream", headers=headers)


def cancel(here: Platform, id: str) -> None:
    """End a job, and what it has started. Raises NotFound, Conflict for one that has ended."""
    here.jobs.cancel(id)
    here.deploy.withdraw(id)
    here.changed.notify()
    here.hub.publish(id)


async def _story(here: Platform, id: str, after: int) -> AsyncIterator[bytes]:
    def look() -> tuple[list[JobEvent], bool]:
        # The state first: a job that had ended by then has its last event in what is read next.
        ended = here.jobs.get(id).state in _ENDS
        return here.jobs.events(id, after), ended

    quiet = 0.0
    with here.hub.follow(id) as changed:
        while True:
            changed.clear()
            try:
                events, ended = await run_in_threadpool(look)
            except DatabaseAway as error:  # the story goes on when it is back
                await asyncio.sleep(min(error.retry_after or 1.0, _LOOK))
                if here.hub.closed:
                    return
                continue
            for event in events:
                after = event.sequence
                yield b"id: %d\ndata: %b\n\n" % (event.sequence, msgspec.json.encode(event))
                if event.kind in _ENDS:
                    return
            if ended or here.hub.closed:
                return
            if events:
                continue
            # Another home may run it, which cannot wake us.
            try:
                await asyncio.wait_for(changed.wait(), HEARTBEAT if here.id is None else _LOOK)
            except TimeoutError:
                quiet += HEARTBEAT if here.id is None else _LOOK
                if quiet >= HEARTBEAT:
                    quiet = 0.0
                    yield b": still here\n\n"
