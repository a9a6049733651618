"""One compressed stream: gzip, zlib, bzip2, xz, LZMA, zstd, LZ4, as joblib and pandas write them."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from modelyard.registry.scan.reader import Reader
from modelyard.registry.scan.source import PIECE, Broken, Expanded, Part, Source
from modelyard.registry.scan.view import Report, View

NAME: Final = "a compressed stream"
_MEMORY: Final = 128 * 1024 * 1024  # bytes that a decompressor may take
NAMES: Final = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".lzma", ".z", ".zst", ".lz4")


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int) -> bytes: ...

    @property
    def eof(self) -> Any: ...

    @property
    def unused_data(self) -> Any: ...


def pieces(source: Source, make: Callable[[], _Decompressor], *, endless: bool = False) -> Iterator[bytes]:
    """What a stream expands to, several behind each other too. Raises Broken. ``endless``: it has no mark at its
    end."""
    offset = 0
    decompressor, begun = make(), False
    while True:
        data = b""
        if getattr(decompressor, "needs_input", True):
            data = source.read(offset, PIECE)
            offset += len(data)
        try:
            piece = decompressor.decompress(data, PIECE)
        except (OSError, EOFError, lzma.LZMAError, ValueError, RuntimeError, MemoryError) as error:
            raise Broken(str(error) or "it takes too much memory") from error
        begun = begun or bool(piece)
        if piece:
            yield piece
        if decompressor.eof:
            left = decompressor.unused_data or b""
            offset -= len(left)
            if offset >= source.size or not source.read(offset, 1).strip(b"\0"):
                return
            decompressor = make()
        elif not data and not piece:
            if endless and begun:
                return
            raise Broken("it ends in the middle")


def inflate(source: Source, bits: int) -> Iterator[bytes]:
    """Deflate, zlib (15) or gzip (31), several streams behind each other too. Raises Broken."""
    offset = 0
    decompressor = zlib.decompressobj(bits)
    left = b""
    while True:
        if not left:
            left = source.read(offset, PIECE)
            offset += len(left)
            if not left:
                raise Broken("it ends in the middle")
        try:
            piece = decompressor.decompress(left, PIECE)
        except (zlib.error, MemoryError) as error:
            raise Broken(str(error)) from error
        left = decompressor.unconsumed_tail
        if piece:
            yield piece
        while decompressor.eof:
            left = decompressor.unused_data or source.read(offset, PIECE)
            if not decompressor.unused_data:
                offset += len(left)
            # Python's and other readers of gzip pass over zeros, and go on with what is a stream.
            left = left.lstrip(b"\0")
            if not left or bits != 31 or left[:2] != b"\x1f\x8b":
                return
            decompressor = zlib.decompressobj(bits)


def zstandard_pieces(source: Source) -> Iterator[bytes]:
    """zstd, all frames. Raises Broken."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    with decompressor.stream_reader(Reader(source), read_across_frames=True) as reader:  # pyright: ignore[reportArgumentType]
        while True:
            try:
                piece = reader.read(PIECE)
            except (zstandard.ZstdError, MemoryError) as error:
                raise Broken(str(error)) from error
            if not piece:
                return
            yield piece


def _old_joblib(source: Source) -> Iterator[bytes]:
    """joblib before 0.10: ``ZF``, the length as a text of 19 bytes, zlib."""
    return inflate(Part(source, 21, source.size - 21), 15)


def form(head: bytes) -> str:
    """What the first bytes are the beginning of; empty for none of these."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if (
        len(head) > 1
        and head[0] & 0x0F == 8
        and head[0] >> 4 <= 7
        and (head[0] << 8 | head[1]) % 31 == 0
        and not head[1] & 0x20
    ):
        return "zlib"
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if head.startswith(b"\x5d\0\0") and len(head) > 13:
        return "LZMA"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if head.startswith((b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18")):
        return "LZ4"
    return "old joblib" if head.startswith(b"ZF0x") else ""


def looks(view: View) -> bool:
    return bool(form(view.head))


def scan(view: View, report: Report) -> None:
    kind, source = form(view.head), view.source
    if kind == "LZ4":
        try:
            import lz4.frame as lz4
        except ImportError:
            report.add(
                "unreadable",
                "an LZ4 stream, which needs the package lz4 (of Modelyard's extra 'scan') to be read",
            )
            return
    ways: dict[str, Callable[[], Iterator[bytes]]] = {
        "gzip": lambda: inflate(source, 31),
        "zlib": lambda: inflate(source, 15),
        "bzip2": lambda: pieces(source, bz2.BZ2Decompressor),
        "xz": lambda: pieces(source, lambda: lzma.LZMADecompressor(memlimit=_MEMORY)),
        "LZMA": lambda: pieces(source, lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY), endless=True),
        "zstd": lambda: zstandard_pieces(source),
        "LZ4": lambda: pieces(source, lambda: lz4.LZ4FrameDecompressor()),  # pyright: ignore[reportPossiblyUnboundVariable]
        "old joblib": lambda: _old_joblib(source),
    }  # fmt: skip
    inner = Expanded(ways[kind], report.budget)
    name = view.name
    for suffix in NAMES:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)] + (".tar" if suffix in (".tgz", ".tbz2", ".txz") else "")
    named = name != view.name or view.name.lower().endswith((".pkl", ".joblib", ".pickle"))
    first = inner.read(0, 1)
    if not first and inner.broken and not named and kind in ("zlib", "LZMA"):
        return  # two or three bytes by chance
    size = inner.size  # to its end once, so that a bomb is met before anything else is looked at
    if size:
        report.look(view.inside(inner, name if name != view.name else f"{kind} data of {view.name}"))
    if inner.broken and (named or kind not in ("zlib", "LZMA")):
        report.add("unreadable", f"{kind} data that break off: {inner.broken}")
