"""One prediction through the node, from the page's own server."""

import http.client
import time
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

TIMEOUT = 60.0  # seconds


class Outcome(NamedTuple):
    """What the node said: ``outputs`` or ``error`` (a sentence) with its ``code`` and ``field``."""

    seconds: float
    outputs: dict[str, Any] | None = None
    error: str | None = None
    code: str | None = None
    field: str | None = None
    request_id: str | None = None


class _ErrorBody(msgspec.Struct):
    error: str
    code: str = "internal"
    field: str | None = None


def predict(node: str | None, key: str, endpoint: str, record: dict[str, Any]) -> Outcome:
    """Send ``record`` to the endpoint. A node that does not answer is an outcome too."""
    begin = time.perf_counter()
    if node is None:
        return Outcome(0.0, error="The node has not started yet.", code="unavailable")
    parts = urlsplit(node)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        path = f"/models/{quote(endpoint, safe='')}/predict"
        connection.request("POST", path, msgspec.json.encode(record), headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        return Outcome(
            time.perf_counter() - begin,
            error=f"The node does not answer at {node} ({why}); see `modelyard status`.",
            code="unavailable",
        )
    finally:
        connection.close()
    seconds = time.perf_counter() - begin
    request_id = response.headers.get("x-request-id")
    try:
        if response.status < 400:
            return Outcome(seconds, msgspec.json.decode(body, type=dict[str, Any]), request_id=request_id)
        told = msgspec.json.decode(body, type=_ErrorBody)
    except msgspec.DecodeError:
        text = f"The node answered {response.status} with something that is not understood."
        return Outcome(seconds, error=text, code="internal", request_id=request_id)
    return Outcome(seconds, None, told.error, told.code, told.field, request_id)
