"""Bytes of a file in order, decompressed on the way when joblib compressed it; always bounded."""

import bz2
import lzma
import zlib
from typing import Protocol

from modelyard.analyze.window import CHUNK, Window
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.units import format_bytes

MAX_EXPANDED = 2 * 1024**3
MAX_LINE = 4096


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Stream:
    """Reads from the front. Raises RejectedContent at the end of the file."""

    compression = ""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.position = 0

    def read(self, length: int) -> bytes:
        """Exactly ``length`` bytes; callers keep ``length`` small."""
        data = self.window.read(self.position, length)
        self.position += length
        return data

    def skip(self, length: int) -> None:
        """Pass over ``length`` bytes."""
        if self.position + length > self.window.size:
            raise self.window.truncated(self.position + length)
        self.position += length

    def line(self) -> bytes:
        """The bytes up to the next newline, without it."""
        taken = bytearray()
        while (byte := self.read(1)) != b"\n":
            taken += byte
            if len(taken) > MAX_LINE:
                raise RejectedContent(
                    f"{self.window.path} is corrupt, or was written with pickle protocol 0, which keeps arrays as "
                    "text. Save it again with joblib.dump, or as .skops.",
                    field=self.window.path,
                )
        return bytes(taken)


class _Zlib:
    """zlib and gzip behind the interface that bz2 and lzma have."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=47)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if self._inner.eof:
            return b""
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class CompressedStream(Stream):
    """As Stream, over what the file expands to (at most 2 GiB)."""

    def __init__(self, window: Window, compression: str, decompressor: _Decompressor) -> None:
        super().__init__(window)
        self.compression = compression
        self._decompressor = decompressor
        self._offset = 0
        self._buffer = b""
        self._index = 0

    def read(self, length: int) -> bytes:
        parts: list[bytes] = []
        while length > 0:
            part = self._take(length)
            parts.append(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, length: int) -> None:
        while length > 0:
            length -= len(self._take(length))

    def _take(self, length: int) -> bytes:
        if self._index >= len(self._buffer):
            self._refill()
        part = self._buffer[self._index : self._index + length]
        self._index += len(part)
        self.position += len(part)
        return part

    def _refill(self) -> None:
        window = self.window
        if self.position > MAX_EXPANDED:
            raise RejectedContent(
                f"{window.path} expands to more than {format_bytes(MAX_EXPANDED)}; save it without compression.",
                field=window.path,
            )
        while True:
            data = b""
            if getattr(self._decompressor, "needs_input", True):
                data = window.read(self._offset, min(CHUNK, window.size - self._offset))
            self._offset += len(data)
            try:
                self._buffer = self._decompressor.decompress(data, CHUNK)
            except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError) as error:
                raise RejectedContent(
                    f"{window.path} is corrupt: its {self.compression} data cannot be expanded ({error}).",
                    field=window.path,
                ) from error
            self._index = 0
            if self._buffer:
                return
            if self._offset >= window.size:
                raise window.truncated(window.size + 1)


def open_stream(files: Files, path: str) -> Stream:
    """The file's bytes, expanded when they are compressed the way joblib does it."""
    window = Window(files, path)
    head = window.read(0, min(8, window.size))
    if head.startswith(b"\x1f\x8b") or (
        head[:1] == b"\x78" and head[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda")
    ):
        return CompressedStream(window, "gzip" if head[0] == 0x1F else "zlib", _Zlib())
    if head.startswith(b"BZh"):
        return CompressedStream(window, "bzip2", bz2.BZ2Decompressor())
    if head.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
        return CompressedStream(window, "lzma", lzma.LZMADecompressor(memlimit=256 * 1024**2))
    if head.startswith(b"\x04\x22\x4d\x18"):
        raise RejectedContent(
            f"{path} is compressed with lz4, which is not read here; save it with joblib.dump(model, path, "
            "compress=3) or without compression.",
            field=path,
        )
    return Stream(window)
