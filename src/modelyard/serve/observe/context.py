"""The trace that a call belongs to, as it comes with a request and goes on to remotes (W3C trace context).

Source: https://www.w3.org/TR/trace-context/
"""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import NamedTuple, Protocol

from modelyard.core.errors import InvalidInput

_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_STATE = re.compile(rb"[\x20-\x7e]{1,512}")


class Trace(Protocol):
    """The place in a trace that what is done for a call belongs under."""

    def lines(self) -> bytes:
        """The header lines that tell it to another server."""
        ...

    def leave(self, name: str) -> "Trace":
        """The place for a call to the remote ``name``, which begins now."""
        ...

    def end(self, code: str) -> None:
        """What this is the place of is over, with an error code or ``ok``."""
        ...


class Passed(NamedTuple):
    """A context that goes through this node untouched: tracing is off here."""

    parent: bytes
    state: bytes

    def lines(self) -> bytes:
        """As they came."""
        state = b"tracestate: %b\r\n" % self.state if self.state else b""
        return b"traceparent: %b\r\n%b" % (self.parent, state)

    def leave(self, name: str) -> "Passed":
        """Nothing begins here."""
        return self

    def end(self, code: str) -> None:
        """Nothing ends here."""


def passed(headers: Mapping[bytes, bytes]) -> Passed | None:
    """The context of a request; None without one. What is not well formed is as if it were not there."""
    parent = headers.get(b"traceparent")
    if parent is None or _PARENT.fullmatch(parent) is None:
        return None
    state = headers.get(b"tracestate", b"")
    return Passed(parent, state if _STATE.fullmatch(state) else b"")


def check_tracing(endpoint: str) -> None:
    """Raise InvalidInput when spans cannot be sent to ``endpoint``."""
    if not endpoint.startswith(("http://", "https://")):
        raise InvalidInput(
            "Spans are sent by OTLP over HTTP; write http://host:4318 or https://….", field="otlp_endpoint"
        )
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http") and find_spec("opentelemetry.sdk")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise InvalidInput(
            "Tracing needs OpenTelemetry: pip install '.[otel]' in Modelyard's folder, or unset otlp_endpoint.",
            field="otlp_endpoint",
        )
