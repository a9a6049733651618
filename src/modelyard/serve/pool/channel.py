"""The node's end of one executor's socket: frames to it and from it (``modelyard_executor.wire``)."""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, cast

import msgspec

from modelyard.core.errors import Unavailable
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.pool import frames
from modelyard.serve.pool.frames import BatchResult, Computed, Failed, Hello, Pong, Progress, Stream
from modelyard_executor import wire
from modelyard_executor.shared import SMALLEST, Borrower, Lender, SlabMissing

log = logging.getLogger("modelyard.executor")

# A batch: its number, its calls, which of them are streamed, the slab where their tensors lie.
_Flying = tuple[int, int, Collection[int], int | None]
_NONE: _Flying = (0, 0, (), None)


class ExecutorGone(Exception):
    """The process cannot be reached any more; how it ended is told by who watches it."""


class Events(NamedTuple):
    """What is told of an executor: ``stream`` (batch, index, a piece of that item's answer), ``progress`` (batch,
    fraction, text), ``computed`` (of the first batch; its result follows), ``gone`` when it takes nothing any
    more, which may be told more than once."""

    hello: Callable[[Hello], None]
    failed: Callable[[Failed], None]
    result: Callable[[BatchResult, list[Result]], None]
    stream: Callable[[int, int, Answer], None]
    progress: Callable[[int, float | None, str], None]
    computed: Callable[[], None]
    gone: Callable[[], None]


class Channel(asyncio.Protocol):
    """One executor's socket. ``end`` ends its process, which is what one gets that breaks the protocol
    (``broken`` says how) or closes its end.

    Once it has said HELLO, ``hello.depth`` batches may be in flight. They are answered in the order in which
    they were sent, one result per call; the list is empty when ``message.out_of_memory``. The result of a call
    with ``stream`` is (), its answer came in pieces before; a model that does not stream gives it in one.
    """

    def __init__(self, events: Events, end: Callable[[], None]) -> None:
        self.hello: Hello | None = None
        self.broken: str | None = None
        self._events = events
        self._end = end
        self._pid = 0
        self._transport: asyncio.WriteTransport | None = None
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._needed = wire.LENGTHS.size
        self._batches = 0
        self._flying: deque[_Flying] = deque()
        self._behind = False  # the first of them is computed, and its result on its way
        self._pings: deque[asyncio.Future[bool]] = deque()
        self._side: socket.socket | None = None  # where slabs are shown
        self._lender: Lender | None = None
        self._borrower: Borrower | None = None
        self._version = 1
        self._streams = False

    async def open(self, pid: int, ours: socket.socket, side: socket.socket) -> None:
        """Speak to the process ``pid`` over ``ours``, and show slabs over ``side``; both are closed with this."""
        self._pid = pid
        ours.setblocking(False)
        self._socket, self._side = ours, side
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)

    def close(self) -> None:
        """The process has ended."""
        self._socket = None
        if self._transport is not None:
            self._transport.close()
        if self._side is not None:
            self._side.close()
        self._lender = self._borrower = None  # bodies that are still read keep their slabs mapped
        for pong in self._pings:
            if not pong.done():
                pong.set_result(False)

    def tell(self, message: frames.Start) -> None:
        """Send a frame without a body."""
        self._write(frames.encode(message), ())

    def send_batch(self, calls: Sequence[Call]) -> int:
        """Send one batch; its number comes back in the result.

        Raises WireError when it is too large, ExecutorGone when there is nobody to send it to.
        """
        self._batches = number = self._batches + 1
        streamed = ()
        for call in calls:
            if call.stream:
                streamed = frozenset(index for index, each in enumerate(calls) if each.stream)
                break
        tail, chunks, size = frames.batch_frame(calls, self._version, self._streams)
        slab = None
        if self._borrower is not None and self._borrower.released:
            self._free()
        if size >= SMALLEST and self._lender is not None:
            slab = self._lender.lend(chunks, size)
            if slab is not None:
                tail, chunks = b'"slab":[%d,%d],%b' % (slab, size, tail), ()
        try:
            sent = self._write(b'{"type":"BATCH","batch":%d,%b' % (number, tail), chunks)
        except wire.WireError:
            if slab is not None and self._lender is not None:
                self._lender.take_back(slab)
            raise
        if not sent:
            self._events.gone()
            raise ExecutorGone
        self._flying.append((number, len(calls), streamed, slab))
        return number

    def _free(self) -> None:
        """Give back the slabs of results that nobody reads any more."""
        assert self._borrower is not None
        released = self._borrower.released
        self._write(frames.encode(frames.Free([released.popleft() for _ in range(len(released))])), ())

    def cancel(self, batch: int, indexes: Sequence[int]) -> None:
        """Nobody waits for these calls of ``batch`` any more: what was not computed yet never is.

        They are answered all the same. An executor of version 1 of the wire computes them.
        """
        if self._version >= 2 and any(flying[0] == batch for flying in self._flying):
            self._write(frames.encode(frames.Cancel(batch, list(indexes))), ())

    async def ping(self) -> bool:
        """True once the executor says that its loop turns; False when it ends instead.

        One that computes may answer only when it is done; how long to wait is the caller's to say.
        """
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._socket is None:
            return False
        self._pings.append(pong)
        self._write(b'{"type":"PING"}', ())
        return await pong

    def drain(self) -> None:
        """Ask it to finish and exit."""
        self._write(b'{"type":"DRAIN"}', ())

    def _write(self, header: bytes, chunks: Sequence[bytes | memoryview]) -> bool:
        """False when it cannot be reached any more."""
        transport, direct = self._transport, self._socket
        if transport is None or direct is None or transport.is_closing():
            return False
        frame = b"".join(wire.encode_raw(header, chunks))
        if transport.get_write_buffer_size() == 0:
            # Straight to the kernel: the transport would wait for the end of the loop's turn, and
            # the executor is idle.
            try:
                sent = direct.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                return False  # it died; its end is noticed by the watch
            if sent == len(frame):
                return True
            frame = memoryview(frame)[sent:]
        transport.write(frame)
        return True

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's has no common base

    def data_received(self, data: bytes) -> None:
        """Bytes of frames; a frame that came whole is read where it lies."""
        if self.broken is not None:
            return  # what else it says is not believed
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data, self._buffer = bytes(self._buffer), bytearray()
        position = 0
        view = memoryview(data)
        try:
            while len(data) - position >= wire.LENGTHS.size:
                header, body = wire.decode_lengths(data[position : position + wire.LENGTHS.size])
                end = position + wire.LENGTHS.size + header + body
                if end > len(data):
                    self._needed = end - position
                    break
                start = position + wire.LENGTHS.size
                self._frame(view[start : start + header], view[start + header : end])
                position = end
            else:
                self._needed = wire.LENGTHS.size
        except (wire.WireError, msgspec.DecodeError, ValueError, RecursionError) as error:
            self.broken = f"it broke the wire protocol: {error}"
            self._end()
            return
        self._buffer = bytearray(view[position:])

    def _frame(self, header: memoryview, body: memoryview) -> None:
        message = frames.decode(header)
        if isinstance(message, BatchResult):
            self._result(message, body)
        elif isinstance(message, Stream):
            number, _, streamed, _ = self._flying[0] if self._flying else _NONE
            if message.batch != number or message.index not in streamed:
                raise ValueError(f"a piece for item {message.index} of batch {message.batch}, nobody's")
            self._events.stream(number, message.index, frames.piece(message, body))
        elif isinstance(message, Progress):
            if not any(flying[0] == message.batch for flying in self._flying):
                raise ValueError(f"progress of batch {message.batch}, which it does not have")
            self._events.progress(message.batch, message.fraction, message.message)
        elif isinstance(message, Computed):
            if len(self._flying) < 2 or message.batch != self._flying[0][0] or self._behind:
                raise ValueError(f"batch {message.batch} is computed, which it was not to compute")
            self._behind = True
            self._events.computed()
        elif isinstance(message, Pong):
            if not self._pings:
                raise ValueError("a PONG that nobody asked for")
            pong = self._pings.popleft()
            if not pong.done():
                pong.set_result(True)
        elif isinstance(message, Hello):
            if self.hello is not None:
                raise ValueError("it says HELLO twice")
            frames.check_hello(message, wire.VERSIONS)
            if message.version == 1:
                message.depth, message.streams = 1, False
            if message.version >= 2 and message.slabs and self._side is not None:
                self._lender, self._borrower = Lender(self._side), Borrower(self._side, leases=True)
            self.hello, self._version, self._streams = message, message.version, message.streams
            self._events.hello(message)
        else:
            self._events.failed(message)

    def _result(self, message: BatchResult, body: memoryview) -> None:
        number, count, streamed, slab = self._flying[0] if self._flying else _NONE
        if message.batch != number:
            raise ValueError(f"a result for batch {message.batch}, which it was not given or has answered")
        self._flying.popleft()
        self._behind = False
        if slab is not None and self._lender is not None:
            self._lender.take_back(slab)
        if message.out_of_memory:
            self._events.result(message, [])
            return
        if message.slab is not None:
            if self._borrower is None or body:
                raise ValueError("a result lies in a slab, and beside it")
            try:
                body = self._borrower.borrow(*message.slab)
            except SlabMissing as error:
                log.error("a result could not be taken", extra={"pid": self._pid, "why": str(error)})
                self._write(b'{"type":"SOCKET"}', ())
                lost = Unavailable(
                    "The node has no descriptors or memory left to take the answer; call again."
                )
                self._events.result(message, [lost for _ in range(count)])
                return
        results = frames.results(message, body, count, streamed if self._streams else ())
        for index in streamed:
            result = results[index]
            if isinstance(result, tuple):
                if result:  # of a model that does not stream
                    self._events.stream(number, index, result)
                results[index] = ()
        self._events.result(message, results)

    def connection_lost(self, exc: Exception | None) -> None:
        """The executor closed its end: if it does not exit by itself, it is ended."""
        self._events.gone()
        asyncio.get_running_loop().call_later(1.0, self._end)
