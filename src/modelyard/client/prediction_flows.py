"""Calling an endpoint: the steps of one prediction, of many, of a stream, and of waking and sleeping."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from modelyard.client import records
from modelyard.client.answers import decode, error_of, rebuild
from modelyard.client.events import EventParser
from modelyard.client.flows import Session, part
from modelyard.client.steps import Call, Flow, Listen, NextLine, Refused, Reply, Wait
from modelyard.core.errors import Internal, ModelyardError, Unavailable

_FIRST_WAIT = 0.05
_LONGEST_WAIT = 1.0
_ABOUT = ("model_name", "model_version")  # of a piece, beside its outputs
_GRACE = 0.5  # seconds in which the node's own word on a deadline may arrive


class CallOptions(NamedTuple):
    """What a caller says beside the inputs. ``timeout`` in seconds from now; ``priority`` 1 is the most
    urgent, larger numbers follow; without ``cache`` the answer is computed anew and not kept. ``detached``: the
    answer is not waited for."""

    timeout: float | None = None
    priority: int | None = None
    cache: bool = True
    detached: bool = False

    def headers(self, left: float) -> dict[str, str]:
        """As the node reads them; ``left`` is what remains of the time, in seconds."""
        headers: dict[str, str] = {}
        if self.timeout is not None:
            headers["modelyard-timeout"] = f"{left:.6f}"
        if self.priority is not None:
            headers["modelyard-priority"] = str(self.priority)
        if not self.cache:
            headers["cache-control"] = "no-cache"
        if self.detached:
            headers["prefer"] = "respond-async"
        return headers


_PLAIN = CallOptions()


def predict(
    session: Session, name: str, record: dict[str, Any], raw: bool, call: CallOptions = _PLAIN
) -> Flow[dict[str, Any]]:
    """One prediction through the node."""
    body = records.encode(record)
    reply = yield from infer(session, f"/models/{part(name)}/predict", body, call)
    return (yield from outputs(session, name, reply, raw))


def outputs(session: Session, name: str, reply: Reply, raw: bool) -> Flow[dict[str, Any]]:
    """The answer to one record, as numpy arrays where there is numpy and not ``raw``."""
    answer = decode(reply.body, dict[str, Any])
    if raw or not records.has_numpy():
        return answer
    return (yield from _types(session, name, reply)).apply(answer)


def predict_batch(
    session: Session, name: str, batch: Sequence[Any], raw: bool, call: CallOptions = _PLAIN
) -> Flow[list[dict[str, Any] | ModelyardError]]:
    """Many records in one request; one outcome for each, in order."""
    if not batch:
        return []
    body = records.encode({"records": list(batch)})
    reply = yield from infer(session, f"/models/{part(name)}/predict/batch", body, call)
    answered = yield from outcomes(session, name, reply, raw)
    if len(answered) != len(batch):
        raise Internal(f"The node answered {len(answered)} of {len(batch)} records.")
    return answered


def outcomes(
    session: Session, name: str, reply: Reply, raw: bool
) -> Flow[list[dict[str, Any] | ModelyardError]]:
    """The answer to a batch: for each record its outputs, or its error."""
    answer = decode(reply.body, _Predictions)
    convert = None if raw or not records.has_numpy() else (yield from _types(session, name, reply))
    found: list[dict[str, Any] | ModelyardError] = []
    for outcome in answer.predictions:
        code, message, field = outcome.get("code"), outcome.get("error"), outcome.get("field")
        if isinstance(code, str) and isinstance(message, str):
            found.append(rebuild(code, message, field if isinstance(field, str) else None))
        else:
            found.append(outcome if convert is None else convert.apply(outcome))
    return found


def predict_stream(
    session: Session,
    name: str,
    record: dict[str, Any],
    call: CallOptions,
    on_piece: Callable[[dict[str, Any]], None],
) -> Flow[int]:
    """One prediction whose pieces are handed to ``on_piece`` as they come; how many there were."""
    base = yield from session.node()
    seconds = session.timeout if call.timeout is None else call.timeout
    url = f"{base}/v2/models/{part(name)}/generate_stream"
    body = records.encode(record)
    try:
        reply: Reply = yield Listen(
            url, session.location.key, seconds + _GRACE, body, call.headers(seconds)
        )
    except Refused as error:
        session.relocate()
        raise Unavailable(f"The node does not answer at {base}; see `modelyard status`.") from error
    if reply.status >= 400:
        raise error_of(reply.status, reply.headers, reply.body)
    parser = EventParser()
    count = 0
    while (line := (yield NextLine(whole=True))) is not None:
        data = parser.feed(line)
        if data is None:
            continue
        piece = decode(data.encode(), dict[str, Any])
        code, message, field = piece.get("code"), piece.get("error"), piece.get("field")
        if isinstance(code, str) and isinstance(message, str):
            raise rebuild(code, message, field if isinstance(field, str) else None)
        count += 1
        on_piece({name: value for name, value in piece.items() if name not in _ABOUT})
    return count


def wake(session: Session, name: str, timeout: float) -> Flow[None]:
    """Have the model of an endpoint in memory."""
    path = f"/v2/repository/models/{part(name)}/load"
    yield from infer(session, path, b"{}", CallOptions(timeout))


def sleep(session: Session, name: str) -> Flow[None]:
    """Take the model of an endpoint out of memory."""
    yield from infer(session, f"/v2/repository/models/{part(name)}/unload", b"{}")


class _Predictions(msgspec.Struct, frozen=True):
    predictions: list[dict[str, Any]]


class _OutputMetadata(msgspec.Struct, frozen=True):
    name: str
    datatype: str


class _ModelMetadata(msgspec.Struct, frozen=True):
    outputs: list[_OutputMetadata] = []


def _types(session: Session, name: str, reply: Reply) -> Flow[records.OutputTypes]:
    """The datatypes of the outputs of the very version that answered, asked for once."""
    key = (name, reply.headers.get("modelyard-version", ""))
    known = session.output_types.get(key)
    if known is None:
        metadata = yield from infer(session, f"/v2/models/{part(name)}", None)
        described = decode(metadata.body, _ModelMetadata).outputs
        known = records.OutputTypes({output.name: output.datatype for output in described})
        session.output_types[key] = known
    return known


def infer(
    session: Session,
    path: str,
    body: bytes | None,
    call: CallOptions = _PLAIN,
    *,
    method: str | None = None,
) -> Flow[Reply]:
    """One call of the node, tried again within its timeout while nothing can have been computed:

    nobody listened (the node is being restarted), or it answered 503 with a Retry-After.
    """
    deadline = time.monotonic() + (session.timeout if call.timeout is None else call.timeout)
    grace = 0.0 if call.timeout is None else _GRACE
    wait = _FIRST_WAIT
    while True:
        base = yield from session.node()
        left = max(deadline - time.monotonic(), 0.01)
        verb = method or ("GET" if body is None else "POST")
        failure: ModelyardError
        try:
            reply: Reply = yield Call(
                verb,
                base + path,
                session.location.key,
                body,
                timeout=left + grace,
                headers=call.headers(left),
            )
        except Refused:
            session.relocate()
            failure = Unavailable(f"The node does not answer at {base}; see `modelyard status`.")
        else:
            if reply.status < 400:
                return reply
            failure = error_of(reply.status, reply.headers, reply.body)
            if reply.status != 503 or failure.retry_after is None:
                raise failure
            wait = max(wait, failure.retry_after)
        if time.monotonic() + wait >= deadline:
            raise failure
        yield Wait(wait)
        wait = min(wait * 2, _LONGEST_WAIT)
