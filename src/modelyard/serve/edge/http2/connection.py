"""One client's HTTP/2 connection: frames to Requests, answers to frames, and the limits.

    bytes ──► frames ──► HEADERS ──► admitted ──► body whole ──► task of the handler ──► answer as far as
                │           │                                        │                   the windows let it
                │           └── not admitted, too large: answered    └── RST_STREAM: cancelled
                └── a broken rule: GOAWAY, closed; a malformed stream: RST_STREAM

Source: RFC 9113. What costs us and brings nothing is counted (``allowance``); while a client does not
read, nothing of it is read either, so that its answers do not pile up here.
"""

import asyncio
import logging
from collections import OrderedDict
from typing import Final, cast

from modelyard.core.errors import Deadline, ModelyardError, TooLarge
from modelyard.serve.edge.http2 import frames
from modelyard.serve.edge.http2.answering import answer_request, refuse, serve_rpc
from modelyard.serve.edge.http2.control import Control
from modelyard.serve.edge.http2.frames import ConnectionError2, StreamError, protocol_error, size_error
from modelyard.serve.edge.http2.head import HEADER_LIMIT, Head, Heads
from modelyard.serve.edge.http2.inflow import CONNECTION_WINDOW, MAX_FRAME, Inflow
from modelyard.serve.edge.http2.outflow import Outflow
from modelyard.serve.edge.http2.reader import FrameReader
from modelyard.serve.edge.http2.stream import STREAM_WINDOW, Stream
from modelyard.serve.edge.shared import Shared
from modelyard.serve.http import Request

log = logging.getLogger("modelyard.http")

MAX_STREAMS: Final = 256  # calls of one connection at a time
GRPC_PREFIX: Final = 5  # bytes in front of a message
DISCARD_LIMIT: Final = 1 << 30  # bytes of a refused body that are read, so that the caller sees the answer
READ_TIMEOUT: Final = 30.0  # seconds without a byte inside a request
IDLE_TIMEOUT: Final = 300.0  # seconds without a call
WRITE_TIMEOUT: Final = 60.0  # seconds that a client may leave our answer unread
PING_AFTER: Final = (
    60.0  # seconds of silence, while calls are open, after which we ask whether anyone is there
)
PING_LIMIT: Final = 30.0
_FORGOTTEN: Final = 256  # streams that we ended early, whose late frames are no offence


class Http2Connection(asyncio.Protocol):
    """One connection, from behind the preface on, which ``opening`` has read."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._heads = Heads()
        self._streams: dict[int, Stream] = {}
        self._last = 0  # the highest stream of the client
        self._early: OrderedDict[int, None] = OrderedDict()
        self._closing = False  # GOAWAY was sent: no new calls
        self._failed = False
        self._touched = self._loop.time()
        self._pinged_at: float | None = None
        self._paused_at: float | None = None
        self._reader = FrameReader(self._frame, self._on_block)
        self._outflow = Outflow(self._write, self.close, self._loop.time)
        self._inflow = Inflow(self._write, shared.max_body)
        self._control = Control(self._write, self._outflow, self._streams, self._touched)

    # --- the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by ``opening``, when the first bytes were those of HTTP/2."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._shared.join(self):
            self._closing = self._failed = True
            self._transport.write(
                frames.settings({}) + frames.goaway(0, frames.REFUSED_STREAM, "too many connections")
            )
            self._transport.close()
            return
        self._transport.write(
            frames.settings(
                {
                    frames.SETTINGS_MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                    frames.SETTINGS_INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                    frames.SETTINGS_MAX_FRAME_SIZE: MAX_FRAME,
                    frames.SETTINGS_MAX_HEADER_LIST_SIZE: HEADER_LIMIT,
                }
            )
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it asked for is not wanted any more."""
        self._shared.leave(self)
        self._closing = self._failed = True
        self._outflow.writable.set()
        for stream in list(self._streams.values()):
            self._abandon(stream)

    def pause_writing(self) -> None:
        """The client does not read fast enough: nothing more is read from it either."""
        self._paused_at = self._loop.time()
        self._outflow.writable.clear()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._paused_at = None
        self._outflow.writable.set()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes of frames."""
        if self._failed:
            return
        self._touched = self._loop.time()
        self._pinged_at = None
        try:
            self._reader.feed(data)
        except ConnectionError2 as error:
            self._fail(error)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == frames.DATA:
            self._on_data(stream, flags, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._on_window_update(stream, payload)
        elif kind == frames.RST_STREAM:
            self._on_reset(stream, payload)
        elif kind == frames.GOAWAY:
            if stream:
                raise protocol_error("GOAWAY on a stream")
            self.finish()
        else:
            self._control.frame(kind, flags, stream, payload, self._touched)

    # --- requests

    def _on_block(self, id: int, flags: int, block: bytes) -> None:
        end = bool(flags & frames.END_STREAM)
        stream = self._streams.get(id)
        try:
            if stream is not None:
                self._heads.skip_trailers(block)
                if not end or stream.ended_in:
                    raise StreamError(frames.PROTOCOL_ERROR, "trailers in the middle of a request")
                self._ended(stream)
            elif id <= self._last:
                self._heads.skip(block)
                if id not in self._early:
                    raise ConnectionError2(frames.STREAM_CLOSED, "HEADERS on a closed stream")
            elif not id & 1:
                raise protocol_error("a stream with an even number")
            else:
                self._last = id
                self._open(id, self._heads.read(block), end)
        except StreamError as error:
            self._reset(id, error.code)

    def _open(self, id: int, head: Head, end: bool) -> None:
        if self._closing:
            return  # GOAWAY told the client that nothing is done about it
        if len(self._streams) >= MAX_STREAMS:
            self._reset(id, frames.REFUSED_STREAM)
            return
        if end and head.length:
            raise StreamError(frames.PROTOCOL_ERROR, "a body that is not there")
        shared = self._shared
        request_id = shared.request_id(head.headers.get(b"x-request-id"))
        request = Request(head.method, head.path, head.query, head.headers, request_id)
        grpc = head.grpc and shared.rpc is not None
        duplex = grpc and shared.rpc is not None and shared.rpc.is_duplex(head.path)
        stream = Stream(id, request, self._outflow, self._inflow, self._touched, grpc=grpc, duplex=duplex)
        self._streams[id] = stream
        stream.ended_in = end
        try:
            if head.too_large:
                raise TooLarge(f"The headers are over the limit of {HEADER_LIMIT} bytes.", field="headers")
            shared.admit(request)
        except ModelyardError as error:
            self._refuse(stream, error)
            return
        if head.length is not None and head.length > shared.max_body:
            self._over(stream)
        elif end or duplex:
            self._start(stream)

    def _on_data(self, id: int, flags: int, payload: bytes) -> None:
        window = len(payload)
        self._inflow.received(window)
        if flags & frames.PADDED:
            payload = frames.without_padding(payload, flags)
        stream = self._streams.get(id)
        end = flags & frames.END_STREAM
        if not payload and not end:
            self._control.spend(self._touched, "frames of nothing")
        if stream is None or stream.ended_in:
            if id == 0 or id > self._last:
                raise protocol_error("DATA on a stream that is not open")
            if stream is not None:
                self._reset(id, frames.STREAM_CLOSED)
            elif id not in self._early:
                raise ConnectionError2(frames.STREAM_CLOSED, "DATA on a closed stream")
            return
        stream.touched = self._touched
        stream.receive_window -= window
        stream.size += len(payload)
        if stream.receive_window < 0:
            self._reset(id, frames.FLOW_CONTROL_ERROR)
        elif stream.duplex:
            stream.feed(payload, window)
            if end:
                self._ended(stream)
        elif stream.discarding:
            self._discard(stream, end)
        elif stream.size > self._shared.max_body + GRPC_PREFIX * stream.grpc:
            self._over(stream)
            if end and stream.discarding:
                self._discard(stream, end)
        else:
            if not stream.body:
                stream.body = payload
            elif type(stream.body) is bytearray:
                stream.body += payload
            else:
                stream.body = bytearray(stream.body) + payload
            if end:
                self._ended(stream)
            elif stream.receive_window < STREAM_WINDOW // 2 and not stream.granted:
                self._inflow.grant_large(stream)

    def _ended(self, stream: Stream) -> None:
        """The request is whole."""
        stream.ended_in = True
        if stream.duplex:
            stream.finish()
            return
        if stream.discarding:
            self._discard(stream, 1)
            return
        length = stream.request.headers.get(b"content-length")
        if length is not None and int(length) != stream.size:
            self._reset(stream.id, frames.PROTOCOL_ERROR)
            return
        self._start(stream)

    def _start(self, stream: Stream) -> None:
        if not stream.duplex:
            body = stream.body
            stream.request.body = body if type(body) is bytes else bytes(body)
            stream.body = b""
        rpc = self._shared.rpc
        if stream.grpc and rpc is not None:
            stream.task = self._loop.create_task(serve_rpc(self, stream, rpc))
        else:
            stream.task = self._loop.create_task(answer_request(self, stream, self._shared))

    # --- refusals

    def _over(self, stream: Stream) -> None:
        self._refuse(
            stream,
            TooLarge(f"The body is over the limit of {self._shared.max_body} bytes; send less at a time."),
        )

    def _refuse(self, stream: Stream, error: ModelyardError) -> None:
        """Answer with ``error`` now; what still comes of the body is thrown away.

        So it is for HTTP, whose clients often read the answer only when they have sent everything. A
        client of gRPC reads all the time, and is told to stop.
        """
        stream.body = b""
        refuse(stream, error, self._shared)
        stream.discarding = not stream.grpc and not stream.ended_in
        if not stream.discarding:
            self.close(stream)

    def _discard(self, stream: Stream, end: int) -> None:
        if end:
            stream.ended_in = True
            self.close(stream)
        elif stream.size > DISCARD_LIMIT:
            self.close(stream)
        elif stream.receive_window < STREAM_WINDOW // 2:
            self._inflow.grant(stream, STREAM_WINDOW - stream.receive_window)

    def _reset(self, id: int, code: int) -> None:
        """End a stream that broke a rule, or that is not wanted."""
        self._control.spend(self._touched, "streams that had to be reset")
        self._write(frames.rst_stream(id, code))
        stream = self._streams.get(id)
        if stream is not None:
            self._abandon(stream)
        self._remember(id)

    def _abandon(self, stream: Stream) -> None:
        """Nobody waits for this stream's answer."""
        stream.ended_out = stream.ended_in = True
        stream.out.clear()
        self._outflow.blocked.pop(stream.id, None)
        if stream.drained is not None and not stream.drained.done():
            stream.drained.set_result(None)
        self._forget(stream)
        if stream.task is not None:
            stream.task.cancel()

    def _remember(self, id: int) -> None:
        self._early[id] = None
        if len(self._early) > _FORGOTTEN:
            self._early.popitem(last=False)

    # --- what a client says of its streams

    def _on_reset(self, id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise size_error("a RST_STREAM that is none")
        if id == 0 or id > self._last:
            raise protocol_error("RST_STREAM of a stream that is not open")
        self._control.spend(self._touched, "RST_STREAM")
        stream = self._streams.get(id)
        if stream is not None:
            self._abandon(stream)

    def _on_window_update(self, id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise size_error("a WINDOW_UPDATE that is none")
        increment = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        if id == 0:
            self._outflow.widen(increment)
            return
        stream = self._streams.get(id)
        if stream is None:
            if id > self._last:
                raise protocol_error("WINDOW_UPDATE of a stream that is not open")
            return
        stream.send_window += increment
        if increment == 0 or stream.send_window > frames.MAX_WINDOW:
            self._reset(id, frames.FLOW_CONTROL_ERROR if increment else frames.PROTOCOL_ERROR)
        elif stream.out:
            self._outflow.flush(stream)

    # --- answers

    def close(self, stream: Stream) -> None:
        """The task of ``stream`` has ended, or it has none: the stream is over once all of it was sent."""
        stream.done = True
        if stream.out or stream.id not in self._streams:
            return
        if not stream.ended_in:
            # The answer was given before the request was whole (RFC 9113 §8.1).
            self._write(frames.rst_stream(stream.id, frames.NO_ERROR))
            self._remember(stream.id)
        elif not stream.ended_out:
            self._write(frames.rst_stream(stream.id, frames.INTERNAL_ERROR))
        self._control.earn()
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        self._inflow.over(stream)
        if self._closing and not self._streams and self._transport is not None:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        # What follows a GOAWAY of the client in the same piece comes to a transport that closes.
        if self._transport is not None and not self._failed and not self._transport.is_closing():
            self._transport.write(data)

    # --- the end

    def _fail(self, error: ConnectionError2) -> None:
        """GOAWAY: nothing more of this client is believed."""
        log.info("an HTTP/2 connection was ended", extra={"reason": error.reason, "code": error.code})
        self._write(frames.goaway(self._last, error.code, error.reason))
        self._closing = self._failed = True
        for stream in list(self._streams.values()):
            self._abandon(stream)
        if self._transport is not None:
            self._transport.close()

    def check(self, now: float) -> None:
        """End what is too slow; called every few seconds."""
        if self._transport is None or self._failed:
            return
        if self._paused_at is not None:
            if now - self._paused_at > WRITE_TIMEOUT:
                self._transport.abort()
            return
        if self._pinged_at is not None and now - self._pinged_at > PING_LIMIT:
            self._transport.abort()
            return
        try:
            if self._reader.in_block and now - self._touched > READ_TIMEOUT:
                raise ConnectionError2(frames.ENHANCE_YOUR_CALM, "a header block that does not end")
            for stream in list(self._streams.values()):
                if stream.blocked_at and now - stream.blocked_at > WRITE_TIMEOUT:
                    self._reset(stream.id, frames.CANCEL)
                elif not stream.ended_in and not stream.duplex and now - stream.touched > READ_TIMEOUT:
                    if stream.discarding:
                        self.close(stream)
                    elif not self._inflow.waits(stream):
                        error = Deadline(f"The request did not arrive within {READ_TIMEOUT:g} s.")
                        self._refuse(stream, error)
        except ConnectionError2 as error:
            self._fail(error)
            return
        if self._streams:
            if self._pinged_at is None and now - self._touched > PING_AFTER:
                self._pinged_at = now
                self._write(frames.ping(b"modelyrd"))
        elif now - self._touched > (IDLE_TIMEOUT if self._reader.begun else READ_TIMEOUT):
            self.finish()

    def finish(self) -> None:
        """Answer what was asked, then close."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        self._write(frames.goaway(self._last, frames.NO_ERROR))
        for stream in list(self._streams.values()):
            if stream.duplex:
                stream.stopping = True
                stream.finish()
            elif not stream.ended_in and stream.discarding:
                self.close(stream)
        if not self._streams:
            self._transport.close()
