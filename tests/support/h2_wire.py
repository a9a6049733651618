"""HTTP/2 on bytes, for tests: a server of ours in a thread, and a client that sends any frame, right or wrong."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator

import hpack
import uvloop

from modelyard.host.network import bind
from modelyard.serve.edge.http2 import frames
from modelyard.serve.edge.server import Server
from modelyard.serve.http import Request, Response

Frame = tuple[int, int, int, bytes]  # type, flags, stream, payload


class Running:
    """A server on a loop of its own."""

    def __init__(self, server: Server, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.port = port
        self.loop = loop

    def stop(self, limit: float = 5.0) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(limit), self.loop).result(60)


@contextlib.contextmanager
def running(
    handler: Callable[[Request], Awaitable[Response]], max_body: int = 1_000_000, **options: object
) -> Iterator[Running]:
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listener = bind("127.0.0.1", 0, program="node", option="", variable="")
    server = Server(handler, max_body, **options)
    one = Running(server, listener.getsockname()[1], loop)
    asyncio.run_coroutine_threadsafe(server.start(listener), loop).result(60)
    try:
        yield one
    finally:
        one.stop(0.2)
        asyncio.run_coroutine_threadsafe(_abort(server), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _abort(server: Server) -> None:
    """What a test left hanging."""
    shared = server._shared
    for connection in list(shared.connections):
        connection._transport.abort()
    await asyncio.wait_for(shared.empty.wait(), 50)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


class Wire:
    """One connection. Frames are read until the one that is waited for."""

    def __init__(self, port: int, settings: dict[int, int] | None = None, *, preface: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._bytes = b""
        self.seen: list[Frame] = []
        if preface:
            self.begin(settings=settings)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def begin(self, *then: bytes, settings: dict[int, int] | None = None) -> None:
        """The preface and what follows it, in one piece: nothing comes late that a busy machine holds up."""
        self.send(b"".join([frames.PREFACE, frames.settings(settings or {}), *then]))

    def frame(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self.send(frames.head_of(kind, flags, stream, len(payload)) + payload)

    def block(self, path: str = "/", method: str = "GET", **headers: str) -> bytes:
        return self._encoder.encode(
            [
                (":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"),
                *((name.replace("_", "-"), value) for name, value in headers.items()),
            ]
        )  # fmt: skip

    def ask(
        self, stream: int, path: str = "/", method: str = "GET", *, end: bool = True, **headers: str
    ) -> None:
        self.send(self.asked(stream, path, method, end=end, **headers))

    def asked(
        self, stream: int, path: str = "/", method: str = "GET", *, end: bool = True, **headers: str
    ) -> bytes:
        """The frame of a request."""
        flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
        block = self.block(path, method, **headers)
        return frames.head_of(frames.HEADERS, flags, stream, len(block)) + block

    def read(self) -> Frame | None:
        """The next frame; None when the server closed."""
        while len(self._bytes) < 9 or len(self._bytes) < 9 + int.from_bytes(self._bytes[:3], "big"):
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self._bytes += more
        high, low, kind, flags, stream = frames.HEADER.unpack_from(self._bytes)
        end = 9 + (high << 16 | low)
        payload, self._bytes = self._bytes[9:end], self._bytes[end:]
        one = (kind, flags, stream, payload)
        self.seen.append(one)
        return one

    def until(self, kind: int, stream: int | None = None) -> Frame:
        """The next frame of ``kind`` (of ``stream``)."""
        while (one := self.read()) is not None:
            if one[0] == kind and stream in (None, one[2]) and not (kind == frames.SETTINGS and one[1]):
                return one
        raise AssertionError(f"closed before a frame of type {kind}; there were {self.seen}")

    def answer(self, stream: int) -> tuple[dict[str, str], bytes]:
        """Headers and body of the answer on ``stream``; windows are not widened."""
        headers: dict[str, str] = {}
        body = b""
        while (one := self.read()) is not None:
            kind, flags, on, payload = one
            if kind == frames.HEADERS:
                headers_now = dict(self._decoder.decode(payload))
                if on == stream:
                    headers |= headers_now
            if on == stream and kind == frames.DATA:
                body += payload
            if on == stream and kind == frames.RST_STREAM:
                raise AssertionError(f"reset with {int.from_bytes(payload, 'big')}")
            if on == stream and flags & frames.END_STREAM and kind in (frames.DATA, frames.HEADERS):
                return headers, body
        raise AssertionError(f"closed before the answer; there were {self.seen}")

    def goaway(self) -> int:
        """The code with which the server ends the connection; it closes after it."""
        payload = self.until(frames.GOAWAY)[3]
        while self.read() is not None:
            pass
        return struct.unpack(">LL", payload[:8])[1]

    def reset(self, stream: int) -> int:
        """The code with which the server resets ``stream``."""
        return int.from_bytes(self.until(frames.RST_STREAM, stream)[3], "big")
