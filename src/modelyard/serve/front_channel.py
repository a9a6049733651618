"""Between the process that owns the pools and its fronts: tables one way, acknowledgements the other.

A socket pair that the front inherits. Frames of ``u32 length (little-endian), JSON``. Its end is a message
too: the front's end tells the owner that the front is gone, the owner's end that there is nobody to ask.
"""

import asyncio
from typing import Final

import msgspec

from modelyard.core.deployment import ServingOptions
from modelyard.core.routes import Grant
from modelyard.core.signature import Signature
from modelyard.core.struct import Noun

FRAME_LIMIT: Final = 1 << 28  # bytes; a table is kilobytes


class FrontEndpoint(Noun):
    """One endpoint as the owner serves it: what a front needs to check and encode by itself. ``plain`` False:
    the owner's cache or fallback may answer."""

    endpoint: str
    model: str
    version: int
    digest: str
    platform: str
    serving: ServingOptions
    signature: Signature
    plain: bool = True


class FrontTable(Noun):
    """What a front is to serve. ``keys``, ``grants`` and ``default`` are those of the table of routes.

    An endpoint that is not here (its signature is not known yet) is asked of the owner, call by call.
    """

    generation: int = 0
    endpoints: tuple[FrontEndpoint, ...] = ()
    default: str | None = None
    keys: tuple[str, ...] | None = None
    grants: tuple[Grant, ...] = ()


class Follow(Noun, tag="follow"):
    """Owner to front: serve by this from now on."""

    number: int
    table: FrontTable


class Stop(Noun, tag="stop"):
    """Owner to front: accept nothing more, answer what is there within ``limit`` seconds, end."""

    limit: float


class Followed(Noun, tag="followed"):
    """Front to owner: table ``number`` is served."""

    number: int


class Used(Noun, tag="used"):
    """Front to owner: when the keys of these clients were last let in here."""

    used: dict[str, float]


Message = Follow | Stop | Followed | Used


class Channel:
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, message: Message) -> None:
        """Send one message; to an end that is gone it is nothing."""
        frame = msgspec.json.encode(message)
        self._writer.write(len(frame).to_bytes(4, "little") + frame)

    async def receive(self) -> Message | None:
        """The next message; None when the other end is gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(4), "little")
            if length > FRAME_LIMIT:
                return None
            return msgspec.json.decode(await self._reader.readexactly(length), type=Message)
        except (asyncio.IncompleteReadError, OSError):
            return None

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
