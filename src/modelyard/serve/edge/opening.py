"""The first bytes of a connection tell what it speaks: HTTP/2 begins with its preface, all else is HTTP/1.1."""

import asyncio
import socket
import struct
from typing import cast

from modelyard.serve.edge import connection as http1
from modelyard.serve.edge.connection import Connection
from modelyard.serve.edge.http2.connection import Http2Connection
from modelyard.serve.edge.http2.frames import PREFACE
from modelyard.serve.edge.shared import Shared


class Opening(asyncio.Protocol):
    """Speaks for a connection until it is known which protocol does; costs nothing after that."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._transport: asyncio.Transport | None = None
        self._seen = b""
        self._touched = asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast(asyncio.Transport, transport)
        if self._shared.callers is not None and _caller(self._transport) not in self._shared.callers():
            self._transport.abort()
            return
        if not self._shared.join(self):
            self._hand_over(Connection(self._shared), b"")  # which says why, and closes

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left without a word."""
        self._shared.leave(self)

    def data_received(self, data: bytes) -> None:
        """The first bytes, perhaps not all of them."""
        if self._seen:
            data = self._seen + data
        if data.startswith(PREFACE):
            self._hand_over(Http2Connection(self._shared), data[len(PREFACE) :])
        elif PREFACE.startswith(data):
            self._seen = data
        else:
            self._hand_over(Connection(self._shared), data)

    def _hand_over(self, protocol: Connection | Http2Connection, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        transport.set_protocol(protocol)
        self._shared.connections.discard(self)  # it is one connection all the time
        protocol.connection_made(transport)
        if data:
            protocol.data_received(data)

    def check(self, now: float) -> None:
        """Close what says nothing; called every few seconds."""
        limit = http1.READ_TIMEOUT if self._seen else http1.IDLE_TIMEOUT
        if self._transport is not None and now - self._touched > limit:
            self._transport.close()

    def finish(self) -> None:
        """Nothing was asked: close."""
        if self._transport is not None:
            self._transport.close()


def _caller(transport: asyncio.Transport) -> int:
    """The process at the other end of a Unix socket (unix(7), SO_PEERCRED)."""
    credentials = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[0])
