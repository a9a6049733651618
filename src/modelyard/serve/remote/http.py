"""An HTTP/1.1 client for one address: connections kept alive, bounded in number, size and time.

One exchange at a time is on a connection: no pipelining, so that a slow answer holds up nobody else.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from modelyard.core.errors import InvalidInput
from modelyard.core.remotes import check_url
from modelyard.serve.remote.exchange import Connection, Reply, Unreached

CONNECT_TIMEOUT = 2.0  # seconds, or what the call has left if that is less
IDLE_TIMEOUT = 30.0  # seconds that a connection may lie idle; below the 75 s of our own nodes
BODY_LIMIT = 1 << 30  # bytes of an answer's body

_METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


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
        self, head: bytes, body: bytes, deadline: float, *, until: float | None = None
    ) -> AsyncGenerator[tuple[Reply, AsyncIterator[bytes]], None]:
        """One request whose answer is taken piece by piece; its headers are there by ``deadline``, and every
        piece by ``until`` (None: whenever it comes)."""
        data = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
        async with asyncio.timeout_at(deadline):
            connection, reply = await self._opened(data, deadline)
        pieces = connection.pieces(until)
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
