"""Bytes to frames, and header blocks put together from their pieces (RFC 9113 §4, §6.2, §6.10)."""

from collections.abc import Callable
from typing import Final

from modelyard.serve.edge.http2 import frames
from modelyard.serve.edge.http2.frames import ConnectionError2, protocol_error, size_error
from modelyard.serve.edge.http2.head import HEADER_LIMIT
from modelyard.serve.edge.http2.inflow import MAX_FRAME

MAX_CONTINUATIONS: Final = 16

_unpack_header = frames.HEADER.unpack_from


class FrameReader:
    """Calls ``take(kind, flags, stream, payload)`` for each frame, and ``block(stream, flags, bytes)`` for
    each whole header block, without padding and priority."""

    def __init__(
        self, take: Callable[[int, int, int, bytes], None], block: Callable[[int, int, bytes], None]
    ) -> None:
        self.begun = False  # the client's first frame came
        self._take = take
        self._take_block = block
        self._buffer = bytearray()
        self._need = frames.HEADER_SIZE
        # A header block in pieces: (stream, flags, bytes, number of pieces).
        self._block: tuple[int, int, bytearray, int] | None = None

    @property
    def in_block(self) -> bool:
        """Whether a header block has begun and not ended."""
        return self._block is not None

    def feed(self, data: bytes) -> None:
        """Bytes as they come. Raises ConnectionError2 for what no client that keeps the rules sends."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        position, end = 0, len(data)
        while end - position >= 9:
            high, low, kind, flags, stream = _unpack_header(data, position)
            length = high << 16 | low
            if length > MAX_FRAME:
                raise size_error("a frame over the limit")
            stop = position + 9 + length
            if stop > end:
                break
            payload = data[position + 9 : stop]
            position = stop
            if kind == frames.HEADERS or kind == frames.CONTINUATION or self._block or not self.begun:
                self._ordered(kind, flags, stream & frames.MAX_WINDOW, payload)
            else:
                self._take(kind, flags, stream & frames.MAX_WINDOW, payload)
        if position < end:
            left = data[position:]
            self._buffer += left
            self._need = 9
            if len(left) >= 9:
                self._need += left[0] << 16 | left[1] << 8 | left[2]

    def _ordered(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """A frame whose place among the others matters."""
        if not self.begun:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise protocol_error("the first frame is SETTINGS")
            self.begun = True
        if self._block is not None and kind != frames.CONTINUATION:
            raise protocol_error("a header block was not ended")
        if kind == frames.HEADERS:
            self._headers(stream, flags, payload)
        elif kind == frames.CONTINUATION:
            self._continuation(stream, flags, payload)
        else:
            self._take(kind, flags, stream, payload)

    def _headers(self, stream: int, flags: int, payload: bytes) -> None:
        if stream == 0:
            raise protocol_error("HEADERS on stream 0")
        if flags & frames.PADDED:
            payload = frames.without_padding(payload, flags)
        if flags & frames.PRIORITIZED:
            if len(payload) < 5:
                raise size_error("HEADERS that are too short")
            if int.from_bytes(payload[:4], "big") & frames.MAX_WINDOW == stream:
                raise protocol_error("a stream that depends on itself")
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._take_block(stream, flags, payload)
        else:
            self._block = (stream, flags, bytearray(payload), 0)

    def _continuation(self, stream: int, flags: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise protocol_error("CONTINUATION of nothing")
        _, first, block, pieces = self._block
        block += payload
        if len(block) > HEADER_LIMIT or pieces >= MAX_CONTINUATIONS:
            raise ConnectionError2(frames.ENHANCE_YOUR_CALM, "a header block over the limit")
        self._block = (stream, first, block, pieces + 1)
        if flags & frames.END_HEADERS:
            self._block = None
            self._take_block(stream, first, bytes(block))
