"""One stream: a request that comes, and its answer, each as far as flow control lets it."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from modelyard.serve.edge.http2 import frames
from modelyard.serve.http import Request

if TYPE_CHECKING:
    from modelyard.serve.edge.http2.inflow import Inflow
    from modelyard.serve.edge.http2.outflow import Outflow

STREAM_WINDOW: Final = 1024 * 1024  # bytes of a request that may come before anything is granted
BACKLOG: Final = 256 * 1024  # bytes of an answer in pieces that wait before its maker has to


class Stream:
    """Made by its connection. ``duplex`` streams hand on what comes as it comes; others are whole requests."""

    __slots__ = (
        "_inbox",
        "_inbox_event",
        "_inflow",
        "_outflow",
        "_taken",
        "blocked_at",
        "body",
        "discarding",
        "done",
        "drained",
        "duplex",
        "ended_in",
        "ended_out",
        "granted",
        "grpc",
        "id",
        "out",
        "receive_window",
        "request",
        "send_window",
        "size",
        "stopping",
        "task",
        "touched",
    )

    def __init__(
        self,
        id: int,
        request: Request,
        outflow: "Outflow",
        inflow: "Inflow",
        now: float,
        *,
        grpc: bool,
        duplex: bool,
    ) -> None:
        self._outflow = outflow
        self._inflow = inflow
        self.id = id
        self.request = request
        self.send_window = outflow.stream_window
        self.receive_window = STREAM_WINDOW
        self.touched = now  # when its last byte came
        self.duplex = duplex
        self.grpc = grpc
        self.task: asyncio.Task[None] | None = None
        self.body: bytes | bytearray = b""
        self.size = 0  # bytes of the body that came
        self.granted = False  # has the window of a large body
        self.discarding = False  # its body is thrown away
        self.ended_in = False  # the client has said everything
        self.ended_out = False  # so have we, at least into ``out``
        self.done = False  # the task has ended
        self.stopping = False  # the node stops: nothing more is read
        self.out: deque[tuple[int, bytes | memoryview, int]] = deque()  # (type, payload, flags) that wait
        self.blocked_at = 0.0
        self.drained: asyncio.Future[None] | None = None
        self._inbox = bytearray()
        self._inbox_event: asyncio.Event | None = asyncio.Event() if duplex else None
        self._taken = 0

    # --- the answer

    def answer(self, head: bytes, data: bytes, trailers: bytes) -> None:
        """A whole answer with trailers; the three are header block, body, header block."""
        self._outflow.answer(self, head, data, trailers)

    def start(self, head: bytes, *, end: bool = False) -> None:
        """The header block of an answer whose body follows, unless it ends with it."""
        self._put(frames.HEADERS, head, frames.END_HEADERS | (frames.END_STREAM if end else 0))

    async def send(self, data: bytes) -> None:
        """A piece of the body. Returns when so little waits that another may be made."""
        self._put(frames.DATA, data, 0)
        await self._outflow.room(self)

    def end(self, trailers: bytes | None = None) -> None:
        """The end of the answer, with trailers or without."""
        if trailers is None:
            self._put(frames.DATA, b"", frames.END_STREAM)
        else:
            self._put(frames.HEADERS, trailers, frames.END_HEADERS | frames.END_STREAM)

    def respond(self, head: bytes, body: bytes) -> None:
        """A whole answer without trailers."""
        if not body:
            self.start(head, end=True)
        elif not self.ended_out:
            self.out.append((frames.HEADERS, head, frames.END_HEADERS))
            self._put(frames.DATA, body, frames.END_STREAM)

    def _put(self, kind: int, payload: bytes, flags: int) -> None:
        if self.ended_out:
            return
        if flags & frames.END_STREAM:
            self.ended_out = True
        self.out.append((kind, payload, flags))
        self._outflow.flush(self)

    # --- a duplex request

    def feed(self, data: bytes, window: int) -> None:
        """A piece of the request came, ``window`` bytes of flow control long."""
        assert self._inbox_event is not None
        self._inbox += data
        self._taken += window - len(data)  # padding is taken at once
        self._inbox_event.set()

    def finish(self) -> None:
        """Nothing more comes, or nothing more is read."""
        if self._inbox_event is not None:
            self._inbox_event.set()

    async def receive(self) -> bytes | None:
        """The next piece of a duplex request; None at its end, or when the node stops."""
        assert self._inbox_event is not None
        while not self._inbox:
            if self.ended_in or self.stopping:
                return None
            self._inbox_event.clear()
            await self._inbox_event.wait()
        data = bytes(self._inbox)
        self._inbox.clear()
        self._taken += len(data)
        if self._taken >= STREAM_WINDOW // 2 and not self.ended_in:
            self._inflow.grant(self, self._taken)
            self._taken = 0
        return data
