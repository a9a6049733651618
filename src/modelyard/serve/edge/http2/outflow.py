"""What goes out over one connection: answers, as far as the client's windows let them (RFC 9113 §5.2)."""

import asyncio
from collections.abc import Callable, Iterable

from modelyard.serve.edge.http2 import frames
from modelyard.serve.edge.http2.frames import ConnectionError2, head_of, protocol_error
from modelyard.serve.edge.http2.inflow import MAX_FRAME
from modelyard.serve.edge.http2.stream import BACKLOG, Stream

_pack_header = frames.HEADER.pack


class Outflow:
    """The client's windows and what waits for them. ``over`` is told of a stream all of which was sent."""

    def __init__(
        self, write: Callable[[bytes], None], over: Callable[[Stream], None], clock: Callable[[], float]
    ) -> None:
        self._write = write
        self._over = over
        self._clock = clock
        self._window = frames.DEFAULT_WINDOW
        self._frame = frames.DEFAULT_FRAME
        self.stream_window = frames.DEFAULT_WINDOW  # what a new stream begins with
        self.blocked: dict[int, Stream] = {}
        self.writable = asyncio.Event()  # cleared while the client does not read
        self.writable.set()

    def follow(self, payload: bytes, streams: Iterable[Stream]) -> None:
        """Keep to the client's SETTINGS. Raises ConnectionError2 for values that cannot be."""
        for position in range(0, len(payload), 6):
            name = int.from_bytes(payload[position : position + 2], "big")
            value = int.from_bytes(payload[position + 2 : position + 6], "big")
            if name == frames.SETTINGS_INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionError2(frames.FLOW_CONTROL_ERROR, "a window over 2^31-1")
                change, self.stream_window = value - self.stream_window, value
                for stream in streams:
                    stream.send_window += change
                    if stream.send_window > frames.MAX_WINDOW:
                        raise ConnectionError2(frames.FLOW_CONTROL_ERROR, "a window over 2^31-1")
            elif name == frames.SETTINGS_MAX_FRAME_SIZE:
                if not frames.DEFAULT_FRAME <= value < 1 << 24:
                    raise protocol_error("a size of frames that cannot be")
                self._frame = min(value, MAX_FRAME)
            elif name == frames.SETTINGS_ENABLE_PUSH and value > 1:
                raise protocol_error("ENABLE_PUSH is 0 or 1")

    def widen(self, increment: int) -> None:
        """The client takes ``increment`` bytes more over the connection. Raises ConnectionError2."""
        self._window += increment
        if increment == 0:
            raise protocol_error("a window that grows by 0")
        if self._window > frames.MAX_WINDOW:
            raise ConnectionError2(frames.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        self.flush_blocked()

    def flush_blocked(self) -> None:
        """A window became wider: send what waited for it."""
        for stream in list(self.blocked.values()):
            if self._window <= 0:
                return
            # To the end of the line, so that all get their turn of a small window.
            if self.blocked.pop(stream.id, None) is not None:
                self.flush(stream)

    def answer(self, stream: Stream, head: bytes, data: bytes, trailers: bytes) -> None:
        """HEADERS, DATA and trailers of a whole answer, in one write where the windows let them."""
        size = len(data)
        if stream.ended_out:
            return
        if stream.out or size > self._window or size > stream.send_window or size > self._frame:
            stream.start(head)
            stream.out.append((frames.DATA, memoryview(data), 0))
            stream.end(trailers)
            return
        self._window -= size
        stream.ended_out = True
        id = stream.id
        self._write(
            b"".join(
                (
                    _pack_header(0, len(head), 1, 4, id),
                    head,
                    _pack_header(size >> 16, size & 0xFFFF, 0, 0, id),
                    data,
                    _pack_header(0, len(trailers), 1, 5, id),
                    trailers,
                )
            )
        )

    def flush(self, stream: Stream) -> None:
        """Send of a stream what its windows let through."""
        out = stream.out
        parts: list[bytes | memoryview] = []
        while out:
            kind, payload, flags = out[0]
            size = len(payload)
            if kind == frames.DATA and size:
                allowed = min(size, self._window, stream.send_window, self._frame)
                if allowed <= 0:
                    break
                self._window -= allowed
                stream.send_window -= allowed
                if allowed < size:
                    view = memoryview(payload)
                    parts += (head_of(frames.DATA, 0, stream.id, allowed), view[:allowed])
                    out[0] = (kind, view[allowed:], flags)
                    continue
            out.popleft()
            parts += (head_of(kind, flags, stream.id, size), payload)
        if parts:
            self._write(b"".join(parts))
        if out:
            if stream.id not in self.blocked:
                self.blocked[stream.id] = stream
            if parts or not stream.blocked_at:
                stream.blocked_at = self._clock()
            return
        stream.blocked_at = 0.0
        self.blocked.pop(stream.id, None)
        if stream.drained is not None and not stream.drained.done():
            stream.drained.set_result(None)
        if stream.done:
            self._over(stream)

    async def room(self, stream: Stream) -> None:
        """Wait until little of ``stream`` waits, and the client reads."""
        while stream.out and sum(len(each[1]) for each in stream.out) > BACKLOG:
            stream.drained = asyncio.get_running_loop().create_future()
            await stream.drained
        if not self.writable.is_set():
            await self.writable.wait()
