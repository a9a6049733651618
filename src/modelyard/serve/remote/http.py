"""An HTTP/1.1 client for one address: connections kept alive, bounded in number, size and time.

Parsing is httptools' (llhttp), as at the node's own edge. One exchange at a time is on a connection: no
pipelining, so that a slow answer holds up nobody else. Who is cancelled abandons the exchange, and with
it the connection.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from modelyard.core.errors import InvalidInput
from modelyard.core.remotes import check_url

CONNECT_TIMEOUT = 2.0  # seconds, or what the call has left if that is less
IDLE_TIMEOUT = 30.0  # seconds that a connection may lie idle; below the 75 s of our own nodes
HEADER_LIMIT = 64 * 1024  # bytes of an answer's headers
BODY_LIMIT = 1 << 30  # bytes of an answer's body
STREAM_AHEAD = 64  # pieces of a streamed answer that wait before the remote is told to wait

_METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Unreached(Exception):
    """Nothing of the request was worked on: no connection, or one that had died while idle."""


class Broken(Exception):
    """The exchange began and did not end well: reset, rubbish, an answer over the limits."""


class Reply(NamedTuple):
    """One answer. Header names are lower-case."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Address(NamedTuple):
    """Where a remote is. ``path`` is the socket's for ``unix:/…``; ``prefix`` stands before every target."""

    host: str
    port: int
    secure: bool
    path: str | None
    prefix: str

    @property
    def authority(self) -> str:
        """The ``Host`` header."""
        if self.path is not None:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def address_of(url: str, field: str = "url") -> Address:
    """A remote's URL taken apart. Raises InvalidInput for one that cannot be called."""
    check_url(url, field)
    if url.startswith("unix:"):
        return Address("", 0, False, url.removeprefix("unix:"), "")
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    return Address(
        parts.hostname or "", parts.port or (443 if secure else 80), secure, None, parts.path.rstrip("/")
    )


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

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body of the stream that was opened, as it comes. Raises Broken."""
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


class Client:
    """The connections to one address: at most ``limit``; who finds none free waits for one."""

    def __init__(self, address: Address, *, limit: int = 256, body_limit: int = BODY_LIMIT) -> None:
        self.address = address
        self._limit = limit
        self._body_limit = body_limit
        self._idle: list[Connection] = []  # the last one used is the next one used
        self._count = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._retired = False
        self._tls = ssl.create_default_context() if address.secure else None
        self._host = f"host: {address.authority}\r\n".encode()

    def head(self, method: str, target: str, headers: Mapping[str, str] | None = None) -> bytes:
        """The part of a request that calls alike have in common: all but length and end."""
        assert method in _METHODS
        lines = "".join(f"{name}: {_safe(value)}\r\n" for name, value in (headers or {}).items())
        return (
            f"{method} {_safe(self.address.prefix + target)} HTTP/1.1\r\n".encode()
            + self._host
            + lines.encode("latin-1")
        )

    async def exchange(self, head: bytes, body: bytes, deadline: float) -> Reply:
        """One request and its answer by ``deadline`` (the loop's time).

        A connection that died while it lay idle is replaced by a fresh one, once. Raises TimeoutError,
        Unreached, Broken.
        """
        data = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        async with asyncio.timeout_at(deadline):
            connection, fresh = await self._acquire(deadline)
            try:
                return await connection.exchange(data)
            except Unreached:
                if fresh:
                    raise
            finally:
                self._release(connection)
            connection = await self._open(deadline)
            try:
                return await connection.exchange(data)
            finally:
                self._release(connection)

    @contextlib.asynccontextmanager
    async def stream(
        self, head: bytes, body: bytes, deadline: float
    ) -> AsyncGenerator[tuple[Reply, AsyncIterator[bytes]], None]:
        """One request whose answer is taken piece by piece; its headers are there by ``deadline``."""
        data = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        async with asyncio.timeout_at(deadline):
            connection, reply = await self._opened(data, deadline)
        pieces = connection.pieces()
        try:
            yield reply, pieces
        finally:
            await pieces.aclose()
            if not connection.whole:
                connection.abandon()
            self._release(connection)

    async def _opened(self, data: bytes, deadline: float) -> tuple[Connection, Reply]:
        connection, fresh = await self._acquire(deadline)
        while True:
            try:
                return connection, await connection.open_stream(data)
            except Unreached:
                self._release(connection)
                if fresh:
                    raise
            except BaseException:
                self._release(connection)
                raise
            connection, fresh = await self._open(deadline), True

    async def _acquire(self, deadline: float) -> tuple[Connection, bool]:
        """A connection, and whether it is a fresh one."""
        while True:
            while self._idle:
                connection = self._idle.pop()
                if connection.usable:
                    return connection, False
                self._count -= 1
            if self._count < self._limit:
                return await self._open(deadline), True
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # the place that was meant for us is another's
                raise
            finally:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(waiter)

    async def _open(self, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        self._count += 1
        address = self.address
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + CONNECT_TIMEOUT)):
                if address.path is not None:
                    _, connection = await loop.create_unix_connection(
                        lambda: Connection(self._body_limit), address.path
                    )
                else:
                    _, connection = await loop.create_connection(
                        lambda: Connection(self._body_limit), address.host, address.port, ssl=self._tls
                    )
        except BaseException as error:
            self._count -= 1
            self._wake()
            if isinstance(error, TimeoutError) and loop.time() < deadline:
                raise Unreached(f"no connection within {CONNECT_TIMEOUT:g} s") from None
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                raise Unreached(f"no connection ({error.strerror or error})") from None
            raise
        return connection

    def _release(self, connection: Connection) -> None:
        if connection.usable and not self._retired:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abandon()
            self._count -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def sweep(self, now: float) -> None:
        """Close what has lain idle too long; called every few seconds."""
        kept: list[Connection] = []
        for connection in self._idle:
            if connection.usable and now - connection.idle_since < IDLE_TIMEOUT:
                kept.append(connection)
            else:
                connection.abandon()
                self._count -= 1
        self._idle = kept

    def retire(self) -> None:
        """Keep no connection any more: close what is idle now, the rest when its exchange ends."""
        self._retired = True
        for connection in self._idle:
            connection.abandon()
        self._count -= len(self._idle)
        self._idle.clear()


def _safe(text: str) -> str:
    """A header's value or a target: a line break in it would begin another request."""
    if not text.isprintable():
        raise InvalidInput("A header or a path holds a character that cannot be sent.", field="headers")
    return text
