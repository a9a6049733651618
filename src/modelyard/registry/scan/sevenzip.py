"""7-Zip archives with the methods that the standard library reads: Copy, LZMA, LZMA2, BCJ, Delta, Deflate, BZip2.

The form is that of 7zFormat.txt in the LZMA SDK (https://www.7-zip.org/sdk.html).
"""

import bz2
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from modelyard.registry.scan.compressed import inflate, pieces
from modelyard.registry.scan.source import Budget, Bytes, Expanded, Forward, Part, Source
from modelyard.registry.scan.view import Report, View
from modelyard.registry.scan.zips import check_names

NAME: Final = "a 7-Zip archive"
_MAGIC: Final = b"7z\xbc\xaf\x27\x1c"
_HEADER: Final = 32 * 1024 * 1024
_MANY: Final = 200_000
_FILTERS: Final = {b"\x03": lzma.FILTER_DELTA, b"\x03\x03\x01\x03": lzma.FILTER_X86, b"\x04": lzma.FILTER_X86,
                   b"\x03\x03\x05\x01": lzma.FILTER_ARM, b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB}  # fmt: skip


@dataclass
class _Folder:
    coders: list[tuple[bytes, bytes]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    streams: int = 1
    parts: list[int] = field(default_factory=list)


@dataclass
class _Streams:
    start: int = 0
    packed: list[int] = field(default_factory=list)
    folders: list[_Folder] = field(default_factory=list)


def looks(view: View) -> bool:
    return view.head.startswith(_MAGIC)


def scan(view: View, report: Report) -> None:
    source = view.source
    offset = int.from_bytes(view.head[12:20], "little")
    length = int.from_bytes(view.head[20:28], "little")
    if length == 0:
        return
    if length > _HEADER or 32 + offset + length > source.size:
        raise ValueError("its directory is too large, or is not where it says")
    header: Source = Bytes(source.read(32 + offset, length))
    while (kind := header.read(0, 1)) == b"\x17":  # the directory is packed itself
        streams = _streams(Forward(header, 1))
        packed = _open(source, streams, 0, report.budget)
        if isinstance(packed, str):
            raise NotImplementedError(f"its directory is packed by {packed}")
        header = Bytes(packed.read(0, _HEADER))
    if kind != b"\x01":
        raise ValueError("its directory begins otherwise")
    streams, names = _directory(Forward(header, 1))
    check_names([(name, "link" if link else "file") for name, _, link in names], report)
    filled = [name for name, full, _ in names if full]
    index = 0
    for number, folder in enumerate(streams.folders):
        whole = _open(source, streams, number, report.budget)
        at = 0
        for size in folder.parts or folder.sizes[-1:]:
            name = filled[index] if index < len(filled) else f"member {index}"
            index += 1
            if isinstance(whole, str):
                report.add(
                    "unreadable", f"the member {name[:200]} is packed by {whole}, which is not read here"
                )
                continue
            report.look(view.inside(Part(whole, at, size), name))
            at += size
        if isinstance(whole, Expanded) and whole.broken:
            report.add("unreadable", f"its data break off: {whole.broken}")


def _number(stream: Forward) -> int:
    first = stream.read(1)[0]
    mask, value = 0x80, 0
    for index in range(8):
        if not first & mask:
            return value | (first & (mask - 1)) << (8 * index)
        value |= stream.read(1)[0] << (8 * index)
        mask >>= 1
    return value


def _few(stream: Forward) -> int:
    count = _number(stream)
    if count > _MANY:
        raise ValueError(f"it would have {count:,} members")
    return count


def _bits(stream: Forward, count: int, *, told: bool = False) -> list[bool]:
    if told and stream.read(1)[0]:
        return [True] * count
    data = stream.read((count + 7) // 8)
    return [bool(data[index // 8] & 0x80 >> index % 8) for index in range(count)]


def _digests(stream: Forward, count: int) -> list[bool]:
    known = _bits(stream, count, told=True)
    stream.skip(4 * sum(known))
    return known


def _streams(stream: Forward) -> _Streams:
    found = _Streams()
    digests: list[bool] = []
    while (kind := stream.read(1)[0]) != 0:
        if kind == 6:
            found.start = _number(stream)
            count = _few(stream)
            while (inner := stream.read(1)[0]) != 0:
                if inner == 9:
                    found.packed = [_number(stream) for _ in range(count)]
                elif inner == 10:
                    _digests(stream, count)
                else:
                    raise ValueError(f"a field {inner} of its packed streams is not known")
        elif kind == 7:
            digests = _folders(stream, found)
        elif kind == 8:
            _parts(stream, found, digests)
        else:
            raise ValueError(f"a field {kind} of its directory is not known")
    for folder in found.folders:
        folder.parts = folder.parts or folder.sizes[-1:]
    return found


def _folders(stream: Forward, found: _Streams) -> list[bool]:
    if stream.read(1)[0] != 11:
        raise ValueError("it has no folders")
    count = _few(stream)
    if stream.read(1)[0]:
        raise ValueError("its folders lie elsewhere")
    for _ in range(count):
        folder = _Folder()
        coders = _number(stream)
        if not 1 <= coders <= 4:
            raise ValueError(f"a folder with {coders} coders")
        outs = 0
        ins = 0
        for _ in range(coders):
            flags = stream.read(1)[0]
            method = stream.read(flags & 15)
            ins_here, outs_here = (_number(stream), _number(stream)) if flags & 16 else (1, 1)
            properties = stream.read(_few(stream)) if flags & 32 else b""
            folder.coders.append((method, properties))
            ins, outs = ins + ins_here, outs + outs_here
        if ins > 8 or outs > 8:
            raise ValueError("a folder with too many streams")
        for _ in range(outs - 1):
            _number(stream), _number(stream)
        packed = ins - (outs - 1)
        if packed > 1:
            for _ in range(packed):
                _number(stream)
        folder.sizes = [0] * outs
        folder.streams = max(1, packed)
        found.folders.append(folder)
    digests: list[bool] = [False] * count
    while (kind := stream.read(1)[0]) != 0:
        if kind == 12:
            for folder in found.folders:
                folder.sizes = [_number(stream) for _ in folder.sizes]
        elif kind == 10:
            digests = _digests(stream, count)
        else:
            raise ValueError(f"a field {kind} of its folders is not known")
    return digests


def _parts(stream: Forward, found: _Streams, digests: list[bool]) -> None:
    counts = [1] * len(found.folders)
    kind = stream.read(1)[0]
    if kind == 13:
        counts = [_few(stream) for _ in found.folders]
        kind = stream.read(1)[0]
    if sum(counts) > _MANY:
        raise ValueError("it has too many members")
    for folder, count in zip(found.folders, counts, strict=True):
        whole = _unpacked(folder)
        sizes = [_number(stream) for _ in range(count - 1 if kind == 9 else 0)]
        folder.parts = [*sizes, whole - sum(sizes)] if count else []
        if not count:
            folder.sizes = [0]
    if kind == 9:
        kind = stream.read(1)[0]
    while kind != 0:
        if kind != 10:
            raise ValueError(f"a field {kind} of its members is not known")
        unknown = sum(
            count
            for count, known in zip(counts, digests or [False] * len(counts), strict=False)
            if count != 1 or not known
        )
        _digests(stream, unknown)
        kind = stream.read(1)[0]


def _unpacked(folder: _Folder) -> int:
    return max(folder.sizes, default=0)


def _directory(stream: Forward) -> tuple[_Streams, list[tuple[str, bool, bool]]]:
    """The streams, and of each member its name, whether it has bytes, whether it is a link."""
    streams = _Streams()
    while (kind := stream.read(1)[0]) != 0:
        if kind == 4:
            streams = _streams(stream)
        elif kind == 5:
            return streams, _names(stream)
        elif kind == 2:
            while stream.read(1)[0] != 0:
                stream.skip(_number(stream))
        else:
            raise ValueError(f"a field {kind} of its directory is not known")
    return streams, []


def _names(stream: Forward) -> list[tuple[str, bool, bool]]:
    count = _few(stream)
    names, empty, modes = [""] * count, [False] * count, [0] * count
    while (kind := stream.read(1)[0]) != 0:
        end = _number(stream) + stream.position
        if kind == 14:
            empty = _bits(stream, count)
        elif kind == 17 and stream.read(1)[0] == 0:
            text = stream.read(min(end - stream.position, _HEADER)).decode("utf-16-le", "replace")
            names = [*text.split("\0"), *names][:count]
        elif kind == 21:
            known = _bits(stream, count, told=True)
            if stream.read(1)[0] == 0:
                modes = [int.from_bytes(stream.read(4), "little") if each else 0 for each in known]
        stream.skip(end - stream.position)
    linked = [bool(mode & 0x8000) and (mode >> 16) & 0xF000 == 0xA000 for mode in modes]
    return [(names[index], not empty[index], linked[index]) for index in range(count)]


def _open(source: Source, streams: _Streams, number: int, budget: Budget) -> Source | str:
    """What a folder expands to, or the method that is not read here."""
    before = sum(folder.streams for folder in streams.folders[:number])
    if before >= len(streams.packed):
        raise ValueError("it has fewer packed streams than folders")
    start = 32 + streams.start + sum(streams.packed[:before])
    packed = Part(source, start, min(streams.packed[before], source.size - start))
    folder = streams.folders[number]
    if folder.streams != 1:
        return "BCJ2"
    size = _unpacked(folder)
    filters: list[dict[str, Any]] = []
    for method, properties in folder.coders:
        if method == b"\x03\x01\x01":
            filters.append(_lzma1(properties))
        elif method == b"\x21":
            filters.append({"id": lzma.FILTER_LZMA2, "dict_size": _dictionary(properties)})
        elif method in _FILTERS:
            one = {"id": _FILTERS[method]}
            filters.append(one | {"dist": properties[0] + 1} if one["id"] == lzma.FILTER_DELTA and properties else one)  # fmt: skip
        elif len(folder.coders) == 1 and method == b"\0":
            return Part(packed, 0, size)
        elif len(folder.coders) == 1 and method == b"\x04\x01\x08":
            return Expanded(_cut(lambda: inflate(packed, -15), size), budget)
        elif len(folder.coders) == 1 and method == b"\x04\x02\x02":
            return Expanded(_cut(lambda: pieces(packed, bz2.BZ2Decompressor), size), budget)
        else:
            return f"the method {method.hex()}"
    # 7-Zip lists the coder that packs last where lzma wants it last, too.
    filters.sort(key=lambda each: each["id"] in (lzma.FILTER_LZMA1, lzma.FILTER_LZMA2))

    def begin() -> Iterator[bytes]:
        return pieces(packed, lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), endless=True)

    return Expanded(_cut(begin, size), budget)


def _cut(begin: Callable[[], Iterator[bytes]], size: int) -> Callable[[], Iterator[bytes]]:
    """A stream that ends where its size says, with or without a mark."""

    def cut() -> Iterator[bytes]:
        left = size
        for piece in begin():
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return

    return cut


def _lzma1(properties: bytes) -> dict[str, Any]:
    if len(properties) != 5 or properties[0] >= 225:
        raise ValueError("its LZMA header is not valid")
    options = properties[0]
    return {"id": lzma.FILTER_LZMA1, "dict_size": _bounded(int.from_bytes(properties[1:5], "little")),
            "lc": options % 9, "lp": options // 9 % 5, "pb": options // 45}  # fmt: skip


def _dictionary(properties: bytes) -> int:
    bits = properties[0] & 63 if properties else 40
    return _bounded((2 | bits & 1) << bits // 2 + 11 if bits < 40 else 0xFFFFFFFF)


def _bounded(size: int) -> int:
    if size > 256 * 1024 * 1024:
        raise ValueError(f"it wants {size >> 20} MiB of memory to be unpacked")
    return max(size, 4096)
