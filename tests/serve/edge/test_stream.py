"""Answers in pieces over HTTP/1.1: as they come, as fast as the client reads, closed when it leaves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from modelyard.core.errors import Overloaded
from modelyard.serve.edge.server import Server
from modelyard.serve.http import Request, Response

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"%b / HTTP/%b\r\nhost: localhost\r\n\r\n"


class Source:
    """A stream that counts what was taken of it and says when it was closed."""

    def __init__(self, pieces: int = 3, size: int = 1, error: Exception | None = None) -> None:
        self.pieces, self.size, self.error = pieces, size, error
        self.taken = 0
        self.more = asyncio.Event()
        self.more.set()
        self.closed = asyncio.Event()

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            for number in range(self.pieces):
                await self.more.wait()
                self.taken += 1
                yield b"%d" % (number % 10) * self.size
            if self.error is not None:
                raise self.error
        finally:
            self.closed.set()


def run(source: Source, scenario: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))

        async def handler(request: Request) -> Response:
            return Response(b"", content_type=b"text/plain", stream=source.stream())

        server = Server(handler, 1000)
        await server.start(listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2], limit=2**16)
        try:
            await scenario((reader, writer))
        finally:
            writer.close()
            await server.stop(5.0)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_pieces_are_chunks_and_the_connection_lives() -> None:
    async def scenario(client: Client) -> None:
        reader, writer = client
        for _ in range(2):
            writer.write(GET % (b"GET", b"1.1"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"transfer-encoding: chunked" in head and b"content-length" not in head
            assert await reader.readuntil(b"0\r\n\r\n") == b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n"

    run(Source(), scenario)


def test_a_piece_is_sent_before_the_next_is_there() -> None:
    source = Source()

    async def scenario(client: Client) -> None:
        reader, writer = client
        source.more.clear()
        writer.write(GET % (b"GET", b"1.1"))
        asyncio.get_running_loop().call_later(0.01, source.more.set)
        await reader.readuntil(b"1\r\n0\r\n")
        source.more.clear()

    run(source, scenario)


def test_a_client_of_http_1_0_gets_the_bare_bytes_and_the_end_of_the_connection() -> None:
    async def scenario(client: Client) -> None:
        reader, writer = client
        writer.write(GET % (b"GET", b"1.0"))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert body == b"012" and b"connection: close" in head and b"chunked" not in head

    run(Source(), scenario)


def test_nothing_is_taken_for_head() -> None:
    source = Source()

    async def scenario(client: Client) -> None:
        reader, writer = client
        writer.write(GET % (b"HEAD", b"1.1"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(GET % (b"HEAD", b"1.1"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

    run(source, scenario)
    assert source.taken == 0


def test_an_error_before_the_first_piece_is_answered_like_any_other() -> None:
    source = Source(pieces=0, error=Overloaded("Too much.", retry_after=1.0))

    async def scenario(client: Client) -> None:
        reader, writer = client
        writer.write(GET % (b"GET", b"1.1"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429") and b"retry-after: 1" in head

    run(source, scenario)


def test_an_error_later_ends_the_connection_without_the_last_chunk(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(client: Client) -> None:
        reader, writer = client
        writer.write(GET % (b"GET", b"1.1"))
        received = await reader.read()
        assert received.endswith(b"1\r\n2\r\n")

    run(Source(error=ValueError("no")), scenario)
    assert "a stream broke off" in caplog.text


def test_a_client_that_does_not_read_stops_the_stream_and_one_that_leaves_closes_it() -> None:
    source = Source(pieces=1_000_000, size=10_000)

    async def scenario(client: Client) -> None:
        reader, writer = client
        writer.write(GET % (b"GET", b"1.1"))
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while before != source.taken:  # until the sockets' buffers are full
            before = source.taken
            await asyncio.sleep(0.3)
        assert 0 < source.taken < 100_000
        writer.transport.abort()
        await source.closed.wait()

    run(source, scenario)


def test_a_client_that_leaves_while_nothing_comes_closes_the_stream() -> None:
    source = Source()

    async def scenario(client: Client) -> None:
        reader, writer = client
        writer.write(GET % (b"GET", b"1.1"))
        await reader.readuntil(b"1\r\n0\r\n")
        source.more.clear()
        writer.transport.abort()
        await source.closed.wait()

    # The first piece, then nothing until the client is gone.
    run(source, scenario)
