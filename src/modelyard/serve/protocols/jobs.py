"""Jobs over HTTP: any prediction whose caller does not wait for it.

    POST (any prediction)              with ``Prefer: respond-async``: 202, and ``Location: /jobs/{id}``
    GET    /jobs                       this caller's, the newest first; ?endpoint=NAME ?state=STATE ?limit=N
    GET    /jobs/{id}                  how it stands; ?wait=SECONDS: once it has ended, or then
    GET    /jobs/{id}/result           the answer, as it would have come without the preference
    GET    /jobs/{id}/files/{output}   one output of a record's answer as raw bytes: a result file
    DELETE /jobs/{id}                  ends it; forgets one that has ended

``Prefer: respond-async, wait=5`` answers as usual if that takes no longer than five seconds (RFC 7240).
"""

import re
from typing import get_args
from urllib.parse import parse_qs

import msgspec

from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.job import JobState, PredictionJob
from modelyard.serve.codec import from_b64
from modelyard.serve.http import Request, Response, json_response
from modelyard.serve.jobs.jobs import Jobs

LONGEST_WAIT = 60.0  # seconds that one request waits for a job's end
_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,5}(?:\.\d{1,3})?)\"?")
_APPLIED = (b"preference-applied", b"respond-async")


def asynchronous(request: Request) -> float | None:
    """The seconds that a caller who prefers not to wait waits first; None for one who does not prefer that."""
    preferences = [each.strip().lower() for each in (request.header(b"prefer") or "").split(",")]
    if "respond-async" not in preferences:
        return None
    found = next((match for each in preferences if (match := _WAIT.fullmatch(each))), None)
    return 0.0 if found is None else min(float(found[1]), LONGEST_WAIT)


async def accept(jobs: Jobs, request: Request, endpoint: str, wait: float) -> Response:
    """Take a request that was checked: 202, or its answer when it comes within ``wait`` seconds."""
    job = await jobs.accept(request, endpoint)
    if wait > 0:
        job = await jobs.wait(job.id, request.client, wait)
        if job.state in ("done", "failed"):
            return await jobs.answer_of(job.id, request.client)
    place = f"/jobs/{job.id}"
    body = {**_told(job), "url": place, "result": f"{place}/result"}
    return Response(
        msgspec.json.encode(body),
        status=202,
        headers=((b"location", place.encode()), _APPLIED, (b"retry-after", b"1")),
    )


async def index(jobs: Jobs, request: Request) -> Response:
    """``GET /jobs``."""
    asked = _query(request, {"endpoint", "state", "limit"})
    limit = asked.get("limit", "100")
    if not limit.isdigit() or not 0 < int(limit) <= 10_000:
        raise InvalidInput("limit is a number from 1 to 10000.", field="limit")
    if (state := asked.get("state")) not in (None, *get_args(JobState)):
        raise InvalidInput(f"state is one of {', '.join(get_args(JobState))}.", field="state")
    found = [
        job
        for job in jobs.jobs(request.client)
        if asked.get("endpoint") in (None, job.endpoint) and state in (None, job.state)
    ]
    return json_response({"jobs": [_told(job) for job in found[: int(limit)]]})


async def show(jobs: Jobs, request: Request, id: str) -> Response:
    """``GET /jobs/{id}``."""
    asked = _query(request, {"wait"}).get("wait")
    if asked is None:
        return json_response(_told(jobs.job(id, request.client)))
    if not re.fullmatch(r"\d{1,5}(\.\d{1,3})?", asked):
        raise InvalidInput("wait is a number of seconds.", field="wait")
    return json_response(_told(await jobs.wait(id, request.client, min(float(asked), LONGEST_WAIT))))


async def result(jobs: Jobs, request: Request, id: str) -> Response:
    """``GET /jobs/{id}/result``. Raises Conflict while there is none."""
    return await jobs.answer_of(id, request.client)


async def file(jobs: Jobs, request: Request, id: str, output: str) -> Response:
    """``GET /jobs/{id}/files/{output}``. Raises NotFound for an output that the answer has not got."""
    job = jobs.job(id, request.client)
    answer = await jobs.answer_of(id, request.client)
    if job.state != "done":
        return answer
    try:
        value = msgspec.json.decode(answer.body, type=dict[str, object])
    except msgspec.DecodeError:  # a list of them, or bytes
        value = {}
    if output not in value:
        has = ", ".join(value) or "no names"
        raise NotFound(f"The answer of this job has no output {output[:100]!r}; it has: {has[:500]}.")
    found = value[output]
    found = from_b64(found, output)
    if isinstance(found, str):
        found = found.encode()
    data = found if isinstance(found, bytes) else msgspec.json.encode(found)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", output)
    return Response(
        data,
        content_type=b"application/octet-stream",
        headers=((b"content-disposition", f'attachment; filename="{name}"'.encode()),),
    )


async def cancel(jobs: Jobs, request: Request, id: str) -> Response:
    """``DELETE /jobs/{id}``. Raises Conflict for one that does not let itself be ended at once."""
    job = await jobs.cancel(id, request.client)
    if not job.over:
        raise Conflict(
            f"The job {id} is being cancelled; its model has not let go of it yet.", retry_after=1.0
        )
    return json_response(_told(job))


def _told(job: PredictionJob) -> dict[str, object]:
    return {name: value for name, value in msgspec.to_builtins(job).items() if value is not None}


def _query(request: Request, known: set[str]) -> dict[str, str]:
    asked = {name: values[-1] for name, values in parse_qs(request.query, keep_blank_values=True).items()}
    for name in asked:
        if name not in known:
            raise InvalidInput(
                f"There is no option {name[:100]!r} here; known: {', '.join(sorted(known))}.",
                field=name[:100],
            )
    return asked
