"""One client's connection: bytes to Requests by httptools (llhttp), Responses to bytes, and the limits.

    reading ──► whole request ──► task of the handler ──► response ──► reading (keep-alive) or closed
       │                              │
       └── too slow, too large,       └── the client leaves: the task is cancelled, and with it
           not HTTP: 4xx, closed          whatever of it still waits in a queue

Requests that a client sends ahead (pipelining) are read up to PIPELINE and answered in order. The
parser is strict: lengths that contradict each other, obsolete folding or stray bytes end the
connection with 400, so nothing can be smuggled past a proxy in front.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final, cast

import httptools

from modelyard.core.errors import (
    Cancelled,
    Deadline,
    Internal,
    InvalidInput,
    ModelyardError,
    TooLarge,
    Unavailable,
)
from modelyard.serve.edge.shared import Shared
from modelyard.serve.http import Request, Response, close_stream, error_response

log = logging.getLogger("modelyard.http")

HEADER_LIMIT = 64 * 1024  # bytes of all header lines of one request
PIPELINE = 16  # requests of one connection that may wait for their answer
READ_TIMEOUT = 30.0  # seconds without a byte inside a request
HEADER_TIMEOUT = 30.0  # seconds from the first byte of a request to the end of its headers
IDLE_TIMEOUT = 75.0  # seconds between two requests
WRITE_TIMEOUT = 60.0  # seconds that a client may leave our answer unread
DISCARD_LIMIT = 1 << 30  # bytes of a refused body that are read, so that the caller sees the answer
LINGER = 10.0  # seconds for which they are read after an answer that ends the connection

_STATUS: Final = {
    status: b"HTTP/1.1 %d %s\r\ncontent-type: " % (status, _phrase.encode())
    for status, _phrase in [*((s.value, s.phrase) for s in HTTPStatus), (499, "Client Closed Request")]
}


class Connection(asyncio.Protocol):
    """One connection. Its methods are called by the event loop and by the parser."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[tuple[Request | ModelyardError, str, bool]] = deque()
        self._closing = False
        self._broken = False  # the bytes that follow cannot be told apart
        self._lingers: float | None = None  # since when the answer that ends the connection is sent
        self._reading = False  # inside a request
        self._in_headers = False
        self._began = self._touched = self._loop.time()
        self._paused_at: float | None = None  # since when the client does not read
        self._writable = asyncio.Event()
        self._writable.set()
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body = bytearray()
        self._size = 0
        self._request: Request | None = None
        self._refused: ModelyardError | None = None

    # --- the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._shared.join(self):
            self._refuse(Unavailable("This node has as many connections as it can hold.", retry_after=1.0))
            self._transport.close()  # at once: it is one too many

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it asked for is not wanted any more."""
        self._shared.leave(self)
        self._closing = True
        self._waiting.clear()
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._closing:
            self._discard(len(data))
            return
        self._touched = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Answered in on_message_complete; the rest is not HTTP to the parser.
            self._closing = self._broken = True
        except httptools.HttpParserError as error:
            self._refuse(
                self._refused or InvalidInput(f"This is not valid HTTP/1.1: {error}.", field="request")
            )

    def pause_writing(self) -> None:
        """The client does not read fast enough; nothing more is written for now."""
        self._paused_at = self._loop.time()
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._paused_at = None
        self._writable.set()

    # --- the parser

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._reset()
        self._reading = self._in_headers = True
        self._began = self._touched

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a trailer is not one."""
        if not self._in_headers:
            return
        self._headers[name.lower()] = value
        self._count_header(len(name) + len(value) + 4)

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_LIMIT:
            self._refused = TooLarge(
                f"The headers are over the limit of {HEADER_LIMIT} bytes.", field="headers"
            )
            raise self._refused

    def on_headers_complete(self) -> None:
        """All headers are there. Who may not call is told before a body of his takes memory."""
        self._in_headers = False
        headers = self._headers
        path, _, query = self._url.partition(b"?")
        self._request = Request(
            self._parser.get_method().decode("latin-1"),
            path.decode("latin-1"),
            query.decode("latin-1"),
            headers,
            self._shared.request_id(headers.get(b"x-request-id")),
        )
        try:
            self._shared.admit(self._request)
        except ModelyardError as error:
            self._refused = error
            raise
        length = headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > self._shared.max_body:
            self._refused = self._too_large()
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            if self._refused is not None:
                # The client asked first, and has not sent the body.
                raise self._refused
            if self._transport is not None and self._task is None:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._size += len(body)
        if self._refused is None:
            self._body += body
            if self._size > self._shared.max_body:
                self._refused = self._too_large()
                self._body.clear()
        elif self._size > DISCARD_LIMIT:
            raise self._refused

    def on_message_complete(self) -> None:
        """The request is whole: answer it now, or after those before it."""
        self._reading = False
        request = self._request
        assert request is not None  # made in on_headers_complete
        keep = self._parser.should_keep_alive()
        if self._parser.should_upgrade():
            self._refused = InvalidInput(
                "This node does not switch protocols; speak HTTP/1.1.", field="upgrade"
            )
            keep = False
        request.body = bytes(self._body)
        self._body = bytearray()
        if self._task is None and not self._waiting:
            self._start(self._refused or request, request.id, keep)
            return
        self._waiting.append((self._refused or request, request.id, keep))
        if len(self._waiting) >= PIPELINE and self._transport is not None:
            self._transport.pause_reading()

    # --- answering

    def _start(self, request: Request | ModelyardError, request_id: str, keep: bool) -> None:
        self._task = self._loop.create_task(self._answer(request, request_id, keep))

    async def _answer(self, request: Request | ModelyardError, request_id: str, keep: bool) -> None:
        try:
            if isinstance(request, ModelyardError):
                raise request
            response = await self._shared.handler(request)
            if response.stream is not None:
                return await self._answer_stream(response, response.stream, request, keep)
        except ModelyardError as error:
            response = error_response(error, request_id)
        except asyncio.CancelledError:
            if self._transport is None or self._transport.is_closing():
                return  # the client left; the dataplane has counted it
            response = error_response(Cancelled("The node is stopping."), request_id)
            keep = False
        except Exception:
            path = request.path if isinstance(request, Request) else ""
            log.exception("an error of ours", extra={"request_id": request_id, "path": path})
            response = error_response(
                Internal(f"Something went wrong on our side; the node's log names it by {request_id}."),
                request_id,
            )
        head = isinstance(request, Request) and request.method == "HEAD"
        self._write(response, request_id, keep and not self._closing, head)
        if not self._writable.is_set():
            await self._writable.wait()
        self._next(keep)

    def _write(self, response: Response, request_id: str, keep: bool, head: bool = False) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        parts = [
            _STATUS[response.status],
            response.content_type,
            b"\r\ncontent-length: %d\r\nx-request-id: " % len(response.body),
            request_id.encode(),
        ]
        for name, value in response.headers:
            parts += (b"\r\n", name, b": ", value)
        parts.append(b"\r\n\r\n" if keep else b"\r\nconnection: close\r\n\r\n")
        if not head:
            parts.append(response.body)
        self._transport.write(b"".join(parts))

    async def _answer_stream(
        self, response: Response, stream: AsyncIterator[bytes], request: Request, keep: bool
    ) -> None:
        """Write the pieces as they come, chunked (RFC 9112 §7.1), none before the client took the last.

        Raises what the stream raises before its first piece. A later error ends the connection without
        the last chunk, so that the client sees that the answer is not whole.
        """
        # A client of HTTP/1.0 does not know chunks: for it the answer ends with the connection.
        chunked = self._parser.get_http_version() != "1.0"
        keep = keep and chunked and not self._closing
        transport = self._transport
        begun = whole = False
        try:
            piece = await anext(stream, None) if request.method != "HEAD" else None
            if transport is None or transport.is_closing():
                return
            transport.write(self._head(response, request.id, keep, chunked=chunked))
            begun = True
            while piece is not None:
                if piece:  # a chunk of nothing would be the last
                    transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                if not self._writable.is_set():
                    await self._writable.wait()
                piece = await anext(stream, None)
            if chunked and request.method != "HEAD":
                transport.write(b"0\r\n\r\n")
            whole = True
        except asyncio.CancelledError:
            if not begun:
                raise
        except Exception:
            if not begun:
                raise
            log.exception("a stream broke off", extra={"request_id": request.id, "path": request.path})
        finally:
            await close_stream(stream)
        self._next(keep and whole)

    @staticmethod
    def _head(response: Response, request_id: str, keep: bool, *, chunked: bool) -> bytes:
        parts = [
            _STATUS[response.status],
            response.content_type,
            b"\r\nx-request-id: ",
            request_id.encode(),
        ]
        if chunked:
            parts.append(b"\r\ntransfer-encoding: chunked")
        for name, value in response.headers:
            parts += (b"\r\n", name, b": ", value)
        parts.append(b"\r\n\r\n" if keep else b"\r\nconnection: close\r\n\r\n")
        return b"".join(parts)

    def _next(self, keep: bool) -> None:
        self._task = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not keep or (self._closing and not self._waiting):
            self._close()
        elif self._waiting:
            if len(self._waiting) == PIPELINE:
                transport.resume_reading()
            self._start(*self._waiting.popleft())
        self._touched = self._loop.time()

    def _refuse(self, error: ModelyardError) -> None:
        """Answer and close: the bytes that follow cannot be told apart any more."""
        self._reading = False
        self._closing = self._broken = True
        request_id = self._shared.request_id(self._headers.get(b"x-request-id"))
        if self._task is not None:
            self._waiting.append((error, request_id, False))
            return
        self._write(error_response(error, request_id), request_id, keep=False)
        self._close()

    def _close(self) -> None:
        """Close; while the client may still be sending, only our side of it (RFC 9112 §9.6).

        A socket that is closed with bytes unread resets the connection, and a client that reads only
        when it has sent everything would find that in place of its answer.
        """
        if self._transport is None:
            return
        if self._broken and self._lingers is None and self._transport.can_write_eof():
            self._lingers, self._size = self._loop.time(), 0
            self._transport.resume_reading()
            self._transport.write_eof()
        else:
            self._transport.close()

    def _discard(self, size: int) -> None:
        self._size += size
        if self._lingers is not None and self._size > DISCARD_LIMIT and self._transport is not None:
            self._transport.abort()

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The body is over the limit of {self._shared.max_body} bytes; send less at a time."
        )

    # --- the server

    def check(self, now: float) -> None:
        """Close what is too slow; called every few seconds."""
        if self._transport is None:
            return
        if self._paused_at is not None:
            if now - self._paused_at > WRITE_TIMEOUT:
                self._transport.abort()
        elif self._lingers is not None:
            if now - self._lingers > LINGER:
                self._transport.close()
        elif self._reading:
            slow = self._in_headers and now - self._began > HEADER_TIMEOUT
            if slow or now - self._touched > READ_TIMEOUT:
                self._refuse(Deadline(f"The request did not arrive within {READ_TIMEOUT:g} s."))
        elif self._task is None and now - self._touched > IDLE_TIMEOUT:
            self._transport.close()

    def finish(self) -> None:
        """Answer what was read, then close, whatever still comes."""
        self._closing, self._broken = True, False
        if self._task is None and self._transport is not None:
            self._transport.close()
