"""A remote that answers as a test says: real sockets, an answer of its choosing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Answer = Callable[[str, bytes], Awaitable[bytes | None]]


def http(status: int, body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


@dataclass
class Scripted:
    """``answer(target, body)`` gives the bytes to send; None: the connection is closed instead."""

    answer: Answer
    connections: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)  # a client closed within an exchange
    url: str = ""
    keep: bool = True  # the connection stays open after an answer
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self._exchanges(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchanges(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.TaskGroup() as group:
            ahead = group.create_task(reader.read(1))
            while first := await ahead:
                head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
                lines = head.split("\r\n")
                headers = {
                    name.lower(): value
                    for name, _, value in (line.partition(": ") for line in lines[1:] if line)
                }
                body = await reader.readexactly(int(headers["content-length"]))
                target = lines[0].split(" ")[1]
                self.requests.append((target, headers, body))
                answering = group.create_task(self.answer(target, body))
                ahead = group.create_task(reader.read(1))
                await asyncio.wait({answering, ahead}, return_when=asyncio.FIRST_COMPLETED)
                if not answering.done():
                    answering.cancel()
                    self.left.set()
                    return
                data = answering.result()
                if data is not None:
                    writer.write(data)
                    await writer.drain()
                if data is None or not self.keep:
                    ahead.cancel()
                    return


@contextlib.asynccontextmanager
async def scripted(answer: Answer, path: str | None = None) -> AsyncIterator[Scripted]:
    remote = Scripted(answer)
    if path is None:
        server = await asyncio.start_server(remote.serve, "127.0.0.1", 0)
        remote.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    else:
        server = await asyncio.start_unix_server(remote.serve, path)
        remote.url = f"unix:{path}"
    try:
        yield remote
    finally:
        server.close()
        for task in remote.tasks:
            task.cancel()
        await asyncio.gather(*remote.tasks, return_exceptions=True)
