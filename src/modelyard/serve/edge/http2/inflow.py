"""What may come in over one connection: windows for the bodies of requests (RFC 9113 §5.2).

A stream may send STREAM_WINDOW without being asked; a larger body needs one of LARGE_BODIES grants, so that
the bodies that come at the same time have a limit, and those that have begun can always end.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from modelyard.serve.edge.http2 import frames
from modelyard.serve.edge.http2.frames import ConnectionError2
from modelyard.serve.edge.http2.stream import Stream

MAX_FRAME: Final = 256 * 1024  # bytes of payload
CONNECTION_WINDOW: Final = 64 * 1024 * 1024
LARGE_BODIES: Final = 4


class Inflow:
    """Our windows. ``max_body`` is the size of the largest body, in bytes."""

    def __init__(self, write: Callable[[bytes], None], max_body: int) -> None:
        self._write = write
        self._max_body = max_body
        self._window = CONNECTION_WINDOW
        self._large = 0
        self._waiting: deque[Stream] = deque()

    def received(self, size: int) -> None:
        """DATA came. Raises ConnectionError2 when it was not allowed."""
        self._window -= size
        if self._window < CONNECTION_WINDOW // 2:
            if self._window < 0:
                raise ConnectionError2(frames.FLOW_CONTROL_ERROR, "DATA over the connection's window")
            self._write(frames.window_update(0, CONNECTION_WINDOW - self._window))
            self._window = CONNECTION_WINDOW

    def grant(self, stream: Stream, size: int) -> None:
        """Let ``size`` bytes more of a request come."""
        stream.receive_window += size
        self._write(frames.window_update(stream.id, size))

    def grant_large(self, stream: Stream) -> None:
        """Let a large body come now, or when one of those that come has ended."""
        if self._large < LARGE_BODIES:
            self._large += 1
            stream.granted = True
            self.grant(stream, self._max_body)
        elif stream not in self._waiting:
            self._waiting.append(stream)

    def waits(self, stream: Stream) -> bool:
        """Whether it is us that the body of ``stream`` waits for."""
        return stream in self._waiting

    def over(self, stream: Stream) -> None:
        """The stream has ended."""
        if stream in self._waiting:
            self._waiting.remove(stream)
        if stream.granted:
            stream.granted = False
            self._large -= 1
            if self._waiting:
                self.grant_large(self._waiting.popleft())
