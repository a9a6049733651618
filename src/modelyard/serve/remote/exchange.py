"""One connection to a remote and the exchange that is on it: a request out, an answer whole or in pieces.

Parsing is httptools' (llhttp), as at the node's own edge. Who is cancelled abandons the exchange, and with
it the connection.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple, cast

import httptools

HEADER_LIMIT = 64 * 1024  # bytes of an answer's headers
STREAM_AHEAD = 64  # pieces of a streamed answer that wait before the remote is told to wait


class Unreached(Exception):
    """Nothing of the request was worked on: no connection, or one that had died while idle."""


class Broken(Exception):
    """The exchange began and did not end well: reset, rubbish, an answer over the limits."""


class Reply(NamedTuple):
    """One answer. Header names are lower-case."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Connection(asyncio.Protocol):
    """One connection, and the exchange that is on it."""

    def __init__(self, body_limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._body_limit = body_limit
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Reply] | None = None
        self._pieces: deque[bytes] | None = None  # of an answer that is streamed
        self._arrived = asyncio.Event()
        self.whole = False
        self._error: Exception | None = None
        self.idle_since = 0.0
        self.usable = True  # another exchange may follow
        self.answering = False  # a byte of the answer came
        self._reset()

    def _reset(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body = bytearray()
        self._status = 0
        self.whole = False
        self.answering = False

    # --- exchanges

    async def exchange(self, data: bytes) -> Reply:
        """Send one request, return its whole answer.

        Raises Unreached when the connection ended before any of the answer came, Broken when within it.
        """
        self._begin(data)
        waiter = self._waiter = self._loop.create_future()
        try:
            return await waiter
        finally:
            self._waiter = None
            if not waiter.done() or waiter.cancelled():
                self.abandon()

    async def open_stream(self, data: bytes) -> Reply:
        """Send one request, return its status and headers; the body follows by :meth:`pieces`."""
        self._begin(data)
        self._pieces = deque()
        self._arrived.clear()
        try:
            while not self._status and self._error is None:
                await self._arrived.wait()
                self._arrived.clear()
        except asyncio.CancelledError:
            self.abandon()
            raise
        if self._error is not None:
            raise self._error
        return Reply(self._status, self._headers, b"")

    async def pieces(self, until: float | None = None) -> AsyncGenerator[bytes, None]:
        """The body of the stream that was opened, as it comes. Raises Broken, and TimeoutError when the
        next piece is not there by ``until`` (the loop's time)."""
        waiting = self._pieces
        assert waiting is not None and self._transport is not None  # open_stream came first
        try:
            while True:
                while waiting:
                    piece = waiting.popleft()
                    if len(waiting) == STREAM_AHEAD // 2:
                        self._transport.resume_reading()
                    yield piece
                if self.whole:
                    return
                if self._error is not None:
                    raise self._error
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()
                self._arrived.clear()
        finally:
            self._pieces = None
            if not self.whole:
                self.abandon()

    def _begin(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise Unreached("the connection had ended")
        self._reset()
        self._transport.write(data)

    def abandon(self) -> None:
        """Close at once: what comes over it is not wanted any more."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # --- the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The remote accepted."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The remote closed, or the way to it broke."""
        self.usable = False
        # An answer without a length ends with the connection; llhttp has no call to be told so, but such
        # an answer must be complete in all but its end.
        if self.answering and self._status and not self.whole and exc is None and self._ends_by_closing():
            self.on_message_complete()
            return
        why = "the connection ended" if exc is None else f"the connection broke ({exc})"
        self._fail(Broken(f"{why} within the answer") if self.answering else Unreached(why))

    def _ends_by_closing(self) -> bool:
        return b"content-length" not in self._headers and b"transfer-encoding" not in self._headers

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        if self._waiter is None and self._pieces is None:
            self.abandon()  # nobody asked
            return
        self.answering = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(self._error or Broken(f"the answer is not valid HTTP/1.1 ({error})"))
            self.abandon()

    def _fail(self, error: Exception) -> None:
        if self.whole:
            return
        self._error = self._error or error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self._arrived.set()

    # --- the parser

    def on_message_begin(self) -> None:
        """The first byte of an answer; a second answer to one request is nobody's."""
        if self.whole:
            self.abandon()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > HEADER_LIMIT:
            self._error = Broken(f"the answer's headers are over {HEADER_LIMIT} bytes")
            raise self._error
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Status and headers are there. 1xx are followed by the answer itself."""
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = {}
            return
        self._status = status
        length = self._headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > self._body_limit:
            self._error = Broken(f"the answer is over {self._body_limit} bytes")
            raise self._error
        self._arrived.set()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._pieces is not None:
            self._pieces.append(body)
            if len(self._pieces) == STREAM_AHEAD and self._transport is not None:
                self._transport.pause_reading()
            self._arrived.set()
            return
        self._body += body
        if len(self._body) > self._body_limit:
            self._error = Broken(f"the answer is over {self._body_limit} bytes")
            raise self._error

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._status < 200:
            return
        self.whole = True
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Reply(self._status, self._headers, bytes(self._body)))
        self._arrived.set()
