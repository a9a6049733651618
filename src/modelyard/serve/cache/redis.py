"""A link to Redis that is there or is not: connects in the background, and is cut when it is too slow.

    connecting ──► trying (log in, choose the database, three PINGs, one within the budget) ──► up
        ▲                                                                                       │
        └── back-off: 0.5 s, 1 s, … 30 s ◄── ended, refused, or three answers in a row too late ◄┘

Nobody ever waits for a connection: a link that is not up says so at once. That is the circuit breaker:
open while it is not up, half open while it is tried.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from modelyard.core.errors import InvalidInput
from modelyard.policy.backoff import Backoff
from modelyard.serve.cache.resp import Connection, Done, Refusal, Replies, command

log = logging.getLogger("modelyard.redis")

State = Literal["connecting", "up", "closed"]
CONNECT_LIMIT = 2.0  # seconds to connect and to log in; nobody waits for them
MISSES = 3  # answers in a row that came too late, and the link is cut


class Address(NamedTuple):
    """Where Redis is. ``str`` of it has no secret."""

    host: str
    port: int
    path: str | None
    tls: bool
    database: int
    user: str
    password: str | None

    def __str__(self) -> str:
        where = f"unix:{self.path}" if self.path is not None else f"{self.host}:{self.port}"
        return f"{where}/{self.database}"


def address_of(url: str) -> Address:
    """``redis://[user:password@]host[:port][/db]``, ``rediss://`` with TLS, ``unix:///path/of/socket``.

    Raises InvalidInput, which does not repeat the URL: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        local = parts.scheme == "unix"
        if parts.scheme not in ("redis", "rediss", "unix") or parts.query or parts.fragment:
            raise ValueError
        if local == bool(parts.hostname) or (local and not parts.path):
            raise ValueError
        database = 0 if local else int(parts.path.strip("/") or 0)
        port = parts.port or 6379
    except ValueError:
        raise InvalidInput(
            "This is not the URL of a Redis; write redis://[user:password@]host[:port][/database], rediss:// "
            "for TLS, or unix:///path/of/its/socket.",
            field="redis_url",
        ) from None
    return Address(
        parts.hostname or "",
        port,
        parts.path if local else None,
        parts.scheme == "rediss",
        database,
        unquote(parts.username or ""),
        unquote(parts.password) if parts.password is not None else None,
    )


class Link:
    """One supervised connection. ``budget`` is in seconds: what takes longer is late."""

    def __init__(self, address: Address, budget: float) -> None:
        self.state: State = "connecting"
        self.trouble: str | None = None  # why it is not up
        self._address = address
        self._budget = budget
        self._late = 0
        self._connection: Connection | None = None
        self._ended = asyncio.Event()
        self._why = ""
        self._backoff = Backoff(first=0.5, limit=30.0)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._supervise(), name="redis")
        self._task.add_done_callback(_tell)

    async def close(self) -> None:
        """End it for good."""
        self.state = "closed"
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def ask(self, commands: Sequence[bytes], done: Done) -> bool:
        """Send commands when the link is up. ``done`` gets their replies, or None when the link ends."""
        if self.state != "up" or self._connection is None:
            return False
        self._connection.ask(commands, done)
        return True

    def answered(self) -> None:
        """An answer came in time."""
        self._late = 0

    def too_late(self) -> None:
        """An answer did not come in time."""
        self._late += 1
        if self._late >= MISSES:
            self.cut(f"it took longer than {self._budget:g} s to answer, {MISSES} times in a row")

    def cut(self, why: str) -> None:
        """End this connection; another is made later."""
        if self.state == "up":
            self.state = "connecting"
        if self._connection is not None:
            self._connection.abort(why)

    def _lost(self, why: str) -> None:
        self._why = why
        if self.state == "up":
            self.state = "connecting"
        self._ended.set()

    async def _supervise(self) -> None:
        while True:
            self._why = ""
            try:
                async with asyncio.timeout(CONNECT_LIMIT):
                    await self._connect()
                    await self._log_in()
                    await self._try()
                self._note_up()
                await self._ended.wait()
            except TimeoutError:
                self._why = f"it did not answer within {CONNECT_LIMIT:g} s"
            except (OSError, Refusal) as error:
                self._why = self._why or f"{error}"
            finally:
                if self._connection is not None:
                    self._connection.abort("closed by us")
                    self._connection = None
            if self._why != self.trouble:
                log.warning(
                    "Redis is not used",
                    extra={"redis": str(self._address), "why": self._why, "effect": "calls are computed"},
                )
            self.trouble = self._why
            await asyncio.sleep(self._backoff.failed(time.monotonic()))

    def _note_up(self) -> None:
        if self._ended.is_set():
            return
        self.state = "up"
        self.trouble = None
        self._late = 0
        self._backoff.succeeded(time.monotonic())
        log.info("Redis is used", extra={"redis": str(self._address)})

    async def _connect(self) -> None:
        self._ended.clear()
        loop = asyncio.get_running_loop()
        address = self._address
        connection = Connection(self._lost)
        if address.path is not None:
            await loop.create_unix_connection(lambda: connection, address.path)
        else:
            context = ssl.create_default_context() if address.tls else None
            await loop.create_connection(lambda: connection, address.host, address.port, ssl=context)
        self._connection = connection

    async def _log_in(self) -> None:
        address = self._address
        commands: list[bytes] = []
        if address.password is not None:
            names = (address.user.encode(),) if address.user else ()
            commands.append(command(b"AUTH", *names, address.password.encode()))
        if address.database:
            commands.append(command(b"SELECT", b"%d" % address.database))
        if commands:
            await self._replies(commands)

    async def _try(self) -> None:
        """Raises TimeoutError or OSError unless one of three PINGs is answered within the budget."""
        loop = asyncio.get_running_loop()
        for _ in range(3):
            began = loop.time()
            await self._replies([command(b"PING")])
            if loop.time() - began <= self._budget:
                return
        raise OSError(f"it takes longer than {self._budget:g} s to answer")

    async def _replies(self, commands: list[bytes]) -> Replies:
        """Raises the first Refusal among the replies, OSError when the connection ends first."""
        future: asyncio.Future[Replies | None] = asyncio.get_running_loop().create_future()

        def done(replies: Replies | None) -> None:
            with contextlib.suppress(asyncio.InvalidStateError):
                future.set_result(replies)

        assert self._connection is not None
        self._connection.ask(commands, done)
        replies = await future
        if replies is None:
            raise OSError(self._why or "Redis closed the connection")
        for reply in replies:
            if isinstance(reply, Refusal):
                raise reply
        return replies


def _tell(task: "asyncio.Task[None]") -> None:
    """A supervisor that ends by an error of ours must not end in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.error("Redis is not used any more", exc_info=task.exception())
