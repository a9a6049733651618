"""One connection to Redis: commands out, replies in, in order (RESP2).

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

LINE_LIMIT = 64 * 1024  # bytes of a line that is not a value
VALUE_LIMIT = 64 * 1024 * 1024


class Refusal(Exception):
    """An error that Redis replied; its first word is the kind (``WRONGPASS``, ``OOM``, …)."""


Reply = bytes | int | None | Refusal
Replies = list[Reply]
Done = Callable[[Replies | None], None]  # None: the connection ended first


class ReplyParser:
    """Bytes in, whole replies out. Raises ValueError for what is not RESP2 as we asked for it."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Replies:
        """The replies that are whole now."""
        buffer = self._buffer
        buffer += data
        replies: Replies = []
        position = 0
        while (end := buffer.find(b"\r\n", position)) >= 0:
            kind, line = buffer[position], bytes(buffer[position + 1 : end])
            position, start = end + 2, position
            match kind:
                case 0x24:  # $ bulk string; -1: no value
                    size = _number(line)
                    if size > VALUE_LIMIT:
                        raise ValueError(f"a value of {size} bytes")
                    if size < 0:
                        replies.append(None)
                        continue
                    if len(buffer) < position + size + 2:
                        position = start
                        break
                    if not buffer.startswith(b"\r\n", position + size):
                        raise ValueError("a value without its end")
                    replies.append(bytes(buffer[position : position + size]))
                    position += size + 2
                case 0x3A:  # : integer
                    replies.append(_number(line))
                case 0x2B:  # + simple string
                    replies.append(line)
                case 0x2D:  # - error
                    replies.append(Refusal(line.decode("utf-8", "replace")))
                case _:
                    raise ValueError(f"a reply of type {chr(kind)!r}")
        del buffer[:position]
        if len(buffer) > LINE_LIMIT and b"\r\n" not in buffer[:LINE_LIMIT]:
            raise ValueError("a line without an end")
        return replies


def _number(line: bytes) -> int:
    if len(line) > 20:
        raise ValueError("a number of more than 20 digits")
    return int(line)


def command(*parts: bytes) -> bytes:
    """One command as RESP2."""
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        pieces += (b"$%d\r\n" % len(part), part, b"\r\n")
    return b"".join(pieces)


class Connection(asyncio.Protocol):
    """Any number of commands on their way at once. ``lost`` is called once, when it ends for any reason."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._parser = ReplyParser()
        self._waiting: deque[tuple[int, Replies, Done]] = deque()
        self._transport: asyncio.Transport | None = None
        self._why = "Redis closed the connection"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected (and the TLS handshake is done)."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """No reply comes any more."""
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        for _, _, done in waiting:
            done(None)
        self._lost(f"{exc}" if exc is not None else self._why)

    def data_received(self, data: bytes) -> None:
        """Replies, in the order of the commands."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            for reply in self._parser.feed(data):
                if not self._waiting:
                    raise ValueError("a reply to nothing")
                count, replies, done = self._waiting[0]
                replies.append(reply)
                if len(replies) == count:
                    self._waiting.popleft()
                    done(replies)
        except ValueError as error:
            self.abort(f"this is not how Redis answers: {error}")

    def ask(self, commands: Sequence[bytes], done: Done) -> None:
        """Send commands; ``done`` is called once, with their replies or None."""
        if self._transport is None or self._transport.is_closing():
            done(None)
            return
        self._waiting.append((len(commands), [], done))
        self._transport.write(b"".join(commands))

    def abort(self, why: str) -> None:
        """End it now, whatever the other side does."""
        if self._transport is not None and not self._transport.is_closing():
            self._why = why
            self._transport.abort()
