"""What a client asks the node for about predictions whose answers it does not wait for."""

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from modelyard.client import prediction_flows, records
from modelyard.client.answers import decode
from modelyard.client.flows import Session, part
from modelyard.client.prediction_flows import CallOptions
from modelyard.client.steps import Flow, Reply
from modelyard.core.errors import Deadline, ModelyardError
from modelyard.core.job import PredictionJob

_LOOK = 20.0  # seconds that one request waits for the end of a job


class _Jobs(msgspec.Struct, frozen=True):
    jobs: list[PredictionJob]


class _Submitted(msgspec.Struct, frozen=True):
    """The answer to who does not wait; it says more than the job, which is asked for anew."""

    id: str


def submit(
    session: Session, name: str, record: dict[str, Any], priority: int | None
) -> Flow[PredictionJob]:
    """Have one record computed."""
    return (yield from _submit(session, f"/models/{part(name)}/predict", records.encode(record), priority))


def submit_batch(
    session: Session, name: str, batch: Sequence[Any], priority: int | None
) -> Flow[PredictionJob]:
    """Have many records computed."""
    body = records.encode({"records": list(batch)})
    return (yield from _submit(session, f"/models/{part(name)}/predict/batch", body, priority))


def _submit(session: Session, path: str, body: bytes, priority: int | None) -> Flow[PredictionJob]:
    call = CallOptions(priority=priority, detached=True)
    reply = yield from prediction_flows.infer(session, path, body, call)
    return (yield from job(session, decode(reply.body, _Submitted).id, None))


def job(session: Session, id: str, wait: float | None) -> Flow[PredictionJob]:
    """How it stands; with ``wait`` once it has ended, or after so many seconds."""
    query = "" if wait is None else f"?wait={wait:.3f}"
    reply = yield from prediction_flows.infer(session, f"/jobs/{part(id)}{query}", None)
    return decode(reply.body, PredictionJob)


def jobs(
    session: Session, endpoint: str | None, state: str | None, limit: int
) -> Flow[list[PredictionJob]]:
    """The latest, the newest first."""
    asked = {"endpoint": endpoint, "state": state, "limit": limit}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return decode((yield from prediction_flows.infer(session, f"/jobs?{query}", None)).body, _Jobs).jobs


def cancel(session: Session, id: str) -> Flow[PredictionJob]:
    """End it; forget one that has ended."""
    reply = yield from prediction_flows.infer(session, f"/jobs/{part(id)}", None, method="DELETE")
    return decode(reply.body, PredictionJob)


def result(
    session: Session, id: str, raw: bool, wait: bool, timeout: float | None
) -> Flow[dict[str, Any] | list[dict[str, Any] | ModelyardError]]:
    """The answer. Raises the job's error, Deadline when it takes longer than ``timeout`` seconds, and without
    ``wait`` Conflict when there is none yet."""
    until = None if timeout is None else time.monotonic() + timeout
    found = yield from job(session, id, None)
    while wait and not found.over:
        left = _LOOK if until is None else min(_LOOK, until - time.monotonic())
        if left <= 0:
            raise Deadline(f"The job {id} did not end within {timeout:g} s; it goes on.")
        found = yield from job(session, id, left)
    reply: Reply = yield from prediction_flows.infer(session, f"/jobs/{part(id)}/result", None)
    if found.path.endswith("/predict/batch"):
        return (yield from prediction_flows.outcomes(session, found.endpoint, reply, raw))
    return (yield from prediction_flows.outputs(session, found.endpoint, reply, raw))
