"""One line in the log for a request that failed, and never more lines than somebody can read.

Faults (status 500 and above, but not deadlines) are told one by one, up to BURST in a window of seconds for
each endpoint and code. What overload makes many of (429, 499, 504) is told once a window. What is left out is
counted and told at the window's end. No line holds inputs, messages of models, keys or query strings.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import Final

from modelyard.core.errors import ERROR_KINDS, ModelyardError
from modelyard.serve.http import Request

log = logging.getLogger("modelyard.failures")

WINDOW = 10.0  # seconds
MOST = 1000  # endpoints and codes at once
BURST = 20  # lines of one endpoint and code in a window
_MANY: Final = frozenset({"overloaded", "cancelled", "deadline"})
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class _Window:
    __slots__ = ("ends", "left_out", "told")

    def __init__(self, ends: float) -> None:
        self.ends = ends
        self.told = 0
        self.left_out = 0


class FailureLog:
    """Decides what is told, and tells it. ``emit`` gets the message and the fields of one line."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        emit: Callable[[str, dict[str, object]], None] | None = None,
    ) -> None:
        self._clock = clock
        self._emit = emit or _emit
        self._windows: dict[tuple[str, str], _Window] = {}
        self._timer: asyncio.TimerHandle | None = None

    def failed(self, request: Request, error: ModelyardError, protocol: str) -> None:
        """``request`` is answered with ``error``, over ``protocol`` (``rest``, ``grpc``)."""
        self._note(request, error.code, protocol, error)

    def left(self, request: Request, protocol: str) -> None:
        """The caller of ``request`` did not wait for the answer."""
        self._note(request, "cancelled", protocol, None)

    def _note(self, request: Request, code: str, protocol: str, error: ModelyardError | None) -> None:
        status = ERROR_KINDS[code].http
        if status < 500 and code not in _MANY:
            return
        place = error.place if error is not None else None
        key = (place.endpoint if place is not None else "", code)
        now = self._clock()
        window = self._windows.get(key)
        if len(self._windows) > MOST:
            self.tell_all()
        if window is None or now >= window.ends:
            if window is not None:
                self._close(key, window)
            window = self._windows[key] = _Window(now + WINDOW)
        if window.told >= (1 if code in _MANY else BURST):
            window.left_out += 1
            self._arm()
            return
        window.told += 1
        line: dict[str, object] = {
            "request_id": request.id,
            "code": code,
            "status": status,
            "protocol": protocol,
        }
        if place is not None:
            line |= {
                "endpoint": place.endpoint,
                "version": place.version,
                "seconds": round(place.seconds, 6),
            }
        else:
            line["path"] = request.path[:200]
        if error is not None and error.field is not None:
            line["field"] = error.field[:200]
        if request.client:
            line["client"] = request.client[:64]
        if (trace := trace_id_of(request)) is not None:
            line["trace_id"] = trace
        self._emit("a request failed", line)

    def tell_all(self) -> None:
        """Tell what was left out in windows that are over, and forget them."""
        self._timer = None
        now = self._clock()
        for key, window in list(self._windows.items()):
            if now >= window.ends:
                del self._windows[key]
                self._close(key, window)
        if any(window.left_out for window in self._windows.values()):
            self._arm()

    def _close(self, key: tuple[str, str], window: _Window) -> None:
        if window.left_out:
            endpoint, code = key
            self._emit(
                "more requests failed",
                {"endpoint": endpoint, "code": code, "left_out": window.left_out, "window": WINDOW},
            )

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW, self.tell_all)


def trace_id_of(request: Request) -> str | None:
    """The trace that the request says it belongs to (W3C trace context), if it says so well."""
    given = request.headers.get(b"traceparent")
    found = _TRACEPARENT.fullmatch(given) if given is not None else None
    return None if found is None else found[1].decode()


def _emit(message: str, line: dict[str, object]) -> None:
    log.error(message, extra=line)
