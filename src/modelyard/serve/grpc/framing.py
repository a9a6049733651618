"""Messages of gRPC on the wire: a flag, a length, the message, packed with gzip or deflate where wanted.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, doc/compression.md
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final

from modelyard.core.errors import InvalidInput, TooLarge
from modelyard.serve.edge.rpc import RpcStream
from modelyard.serve.grpc.status import Unimplemented

PREFIX: Final = 5
_PREFIX: Final = struct.Struct(">BL")
_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}
_PACKED_FROM: Final = 1024  # bytes below which packing an answer does not pay


def framed(message: bytes) -> bytes:
    """A message as it is sent."""
    return _PREFIX.pack(0, len(message)) + message


class Messages:
    """How the messages of one call are written; ``limit`` is the largest, in bytes, unpacked."""

    __slots__ = ("_encoding", "_headers", "_limit", "_packs")

    def __init__(self, headers: Mapping[bytes, bytes], limit: int) -> None:
        self._headers = headers
        self._limit = limit
        self._encoding = headers.get(b"grpc-encoding", b"identity").decode("latin-1")
        accepted = headers.get(b"grpc-accept-encoding", b"").decode("latin-1")
        self._packs = self._encoding in _WINDOW_BITS and self._encoding in [
            each.strip() for each in accepted.split(",")
        ]

    @property
    def encoding(self) -> str | None:
        """What answers may be packed with: what requests are, if the client reads it too."""
        return self._encoding if self._packs else None

    def unpack(self, flag: int, message: bytes) -> bytes:
        """The message of a frame. Raises InvalidInput, TooLarge, or Unimplemented for its encoding."""
        if flag == 0:
            return message
        bits = _WINDOW_BITS.get(self._encoding)
        if flag != 1 or self._encoding == "identity":
            raise InvalidInput(
                "The message is marked as packed, and no grpc-encoding is named.", field="message"
            )
        if bits is None:
            raise Unimplemented(
                f"grpc-encoding {self._encoding!r} is not read here; use gzip, deflate or identity.",
                field="grpc-encoding",
            )
        unpacker = zlib.decompressobj(bits)
        try:
            unpacked = unpacker.decompress(message, self._limit + 1)
        except zlib.error:
            raise InvalidInput(f"The message is not {self._encoding}.", field="message") from None
        if len(unpacked) > self._limit:
            raise self.too_large()
        if not unpacker.eof:
            raise InvalidInput(f"The {self._encoding} of the message is cut off.", field="message")
        return unpacked

    def pack(self, message: bytes) -> bytes:
        """A message as it is sent to this client."""
        if not self._packs or len(message) < _PACKED_FROM:
            return framed(message)
        packer = zlib.compressobj(1, wbits=_WINDOW_BITS[self._encoding])
        packed = packer.compress(message) + packer.flush()
        return _PREFIX.pack(1, len(packed)) + packed

    def too_large(self) -> TooLarge:
        """The error of a message over the limit."""
        return TooLarge(f"The message is over the limit of {self._limit} bytes; send less at a time.")

    async def read(self, stream: RpcStream, buffer: bytearray) -> bytes | None:
        """The next message of a stream; None at its end. ``buffer`` keeps what was read of the one after."""
        while True:
            if len(buffer) >= PREFIX:
                flag, length = _PREFIX.unpack_from(buffer)
                if length > self._limit:
                    raise self.too_large()
                if len(buffer) >= PREFIX + length:
                    message = bytes(buffer[PREFIX : PREFIX + length])
                    del buffer[: PREFIX + length]
                    return self.unpack(flag, message)
            piece = await stream.receive()
            if piece is None:
                if buffer and not stream.stopping:
                    raise InvalidInput("The stream ends inside a message.", field="message")
                return None
            buffer += piece


def only(body: bytes) -> tuple[int, int]:
    """(flag, position) of the one message that ``body`` is. Raises InvalidInput."""
    if len(body) < PREFIX or int.from_bytes(body[1:PREFIX], "big") != len(body) - PREFIX:
        raise InvalidInput("This method takes exactly one message.", field="message")
    return body[0], PREFIX
