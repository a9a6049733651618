"""The listening side of HTTP: accepts connections, closes slow ones, stops without losing an answer."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable, Collection

from modelyard.serve.edge.opening import Opening
from modelyard.serve.edge.rpc import Rpc
from modelyard.serve.edge.shared import Admission, Handler, Shared

CHECK_EVERY = 5.0  # seconds


class Server:
    """A server on sockets that are bound already; with ``callers``, on Unix sockets and for those processes only."""

    def __init__(
        self,
        handler: Handler,
        max_body: int,
        *,
        admit: Admission = lambda request: None,
        max_connections: int = 10_000,
        rpc: Rpc | None = None,
        callers: Callable[[], Collection[int]] | None = None,
    ) -> None:
        self._shared = Shared(handler, max_body, admit, max_connections)
        self._shared.rpc = rpc
        self._shared.callers = callers
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None

    def connections(self) -> int:
        """How many there are now."""
        return len(self._shared.connections)

    async def start(self, listener: socket.socket) -> None:
        """Accept connections from now on; called once for each socket."""
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        self._servers.append(await create(lambda: Opening(self._shared), sock=listener, backlog=4096))
        if self._timer is None:
            self._check()

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in list(self._shared.connections):
            connection.check(loop.time())
        self._timer = loop.call_later(CHECK_EVERY, self._check)

    async def stop(self, limit: float) -> None:
        """Accept nothing more; give open calls up to ``limit`` seconds."""
        for server in self._servers:
            server.close()
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._shared.connections):
            connection.finish()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._shared.empty.wait(), limit)


def most_connections() -> int:
    """As many as the system lets us, less what pools, logs and files need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(64, most - 512)
