"""A raw HTTP/1.1 client for loads: one call at a time on a connection, every answer read and judged."""

import asyncio
from typing import cast
from urllib.parse import urlsplit


class ConnectionEnded(ConnectionError):
    """The server closed the connection (or reset it) before the whole answer had come."""


class Connection(asyncio.Protocol):
    """Answers say their length or come in chunks (RFC 9112 §7.1); any other raises ValueError."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._buffer = b""
        self._need = -1  # how far the answer reaches, as far as is known; -1: its head is not read
        self._head = 0
        self._chunks: list[bytes] | None = None  # those read so far, of an answer that comes in chunks
        self._status = 0
        self._last = False  # the server said that it closes after this answer
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        """Send one request; the future gets its status and body. Raises ConnectionEnded when closed."""
        if self.closed or self._transport is None:
            raise ConnectionEnded("the connection is closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._need < 0 and not self._read_head():
            return
        if len(self._buffer) < self._need or (self._chunks is not None and not self._read_chunks()):
            return
        body, status = self._buffer[self._head : self._need], self._status
        if self._chunks is not None:
            body, self._chunks = b"".join(self._chunks), None
        self._buffer = self._buffer[self._need :]
        self._need = -1
        answer, self._answer = self._answer, None
        if self._last:
            self.close()
        if answer is not None and not answer.done():
            answer.set_result((status, body))

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[:end].lower()
        self._status = int(head[9:12])
        self._last = b"\r\nconnection: close" in head
        self._head = self._need = end + 4
        if self._status == 204:
            return True
        if b"\r\ntransfer-encoding: chunked" in head:
            self._chunks = []
            return True
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            self._give(ValueError(f"an answer without a length: {head[:200]!r}"))
            self.close()
            return False
        stop = head.find(b"\r\n", at + 2)
        length = int(head[at + 17 : stop if stop >= 0 else None])
        self._need += length
        return True

    def _read_chunks(self) -> bool:
        """Take the chunks that are whole; whether the last one was among them (no trailers are expected)."""
        assert self._chunks is not None
        while (line := self._buffer.find(b"\r\n", self._need)) >= 0:
            size = int(self._buffer[self._need : line].partition(b";")[0], 16)
            end = line + 2 + size + 2
            if len(self._buffer) < end:
                return False
            self._need = end
            if size == 0:
                return True
            self._chunks.append(self._buffer[line + 2 : end - 2])
        return False

    def _give(self, trouble: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(trouble)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._give(ConnectionEnded("the server closed the connection"))

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()


async def connect(url: str) -> Connection:
    """A new connection to the server of ``url``. Raises OSError when nobody takes it."""
    parts = urlsplit(url)
    _, protocol = await asyncio.get_running_loop().create_connection(
        Connection, parts.hostname, parts.port or 80
    )
    return protocol
