"""Server-Sent Events of a remote: the ``data`` of each, as it comes.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from collections.abc import AsyncGenerator, AsyncIterator

from modelyard.serve.remote.exchange import Broken

EVENT_LIMIT = 64 << 20  # bytes of one event


async def events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The data of the events in ``pieces``, which may be cut anywhere. Raises Broken for one without an end."""
    buffer = bytearray()
    data: list[bytes] = []
    async for piece in pieces:
        buffer += piece
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end]).removesuffix(b"\r")
            del buffer[: end + 1]
            if not line:
                if data:
                    yield b"\n".join(data)
                data = []
            elif line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
        if len(buffer) + sum(map(len, data)) > EVENT_LIMIT:
            raise Broken(f"an event is over {EVENT_LIMIT} bytes")
    if buffer or data:
        raise Broken("the stream ended within an event")
