"""What all connections of a node have in common, whatever they speak."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from modelyard.serve.edge.rpc import Rpc
from modelyard.serve.http import Request, Response

Handler = Callable[[Request], Awaitable[Response]]
Admission = Callable[[Request], None]  # raises the error of who may not call; sees no body


class Peer(Protocol):
    """A connection, whatever it speaks."""

    def check(self, now: float) -> None: ...

    def finish(self) -> None: ...


class Shared:
    """What all connections of a node share: the handler, the limit on bodies, request ids."""

    def __init__(self, handler: Handler, max_body: int, admit: Admission, max_connections: int) -> None:
        self.handler = handler
        self.max_body = max_body
        self.admit = admit
        self.max_connections = max_connections
        self.connections: set[Peer] = set()
        self.rpc: Rpc | None = None  # what answers calls of gRPC
        self.callers: Callable[[], Collection[int]] | None = None  # the only processes that may connect
        self.empty = asyncio.Event()  # set while there is no connection
        self.empty.set()
        self._prefix = os.urandom(4).hex()
        self._numbers = itertools.count(1)

    def join(self, connection: Peer) -> bool:
        """A client connected; False when there are more than this node can hold."""
        self.connections.add(connection)
        self.empty.clear()
        return len(self.connections) <= self.max_connections

    def leave(self, connection: Peer) -> None:
        """A client is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()

    def request_id(self, given: bytes | None) -> str:
        """The caller's id when it is harmless in logs and headers, else one of ours."""
        if given and len(given) <= 128 and given.isascii() and given.decode().isprintable():
            return given.decode()
        return f"{self._prefix}-{next(self._numbers):x}"
