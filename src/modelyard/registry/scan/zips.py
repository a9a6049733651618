"""Zip archives, and what is one inside: PyTorch's files, .keras, .npz, skops. All members are looked at as files are.

Members are read by their place alone, because loaders differ in what else they believe: PyTorch's looks at neither
checksums nor the flag of encryption.
"""

import bz2
import lzma
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Iterator
from typing import Final

from modelyard.registry.scan.compressed import inflate, pieces
from modelyard.registry.scan.reader import Reader
from modelyard.registry.scan.source import Broken, Budget, Expanded, Part, Source
from modelyard.registry.scan.view import Report, View

NAME: Final = "a zip archive"
_END: Final = b"PK\x05\x06"
_LOCAL: Final = b"PK\x03\x04"
_TAIL: Final = 65_557  # bytes: the longest end of a directory, with its comment


def looks(view: View) -> bool:
    """By its beginning, or by a directory at its end: readers of zips go by that alone."""
    if view.head.startswith((_LOCAL, _END)):
        return True
    if view.depth and isinstance(view.source, Expanded):
        return False  # expanding all of it for its end: only where something may have been put before a zip
    size = view.source.size
    longest = 22 if view.depth else _TAIL
    tail = view.source.read(max(0, size - longest), longest)
    at = tail.rfind(_END)
    return (
        at >= 0
        and len(tail) - at >= 22
        and struct.unpack_from("<H", tail, at + 20)[0] <= len(tail) - at - 22
    )


def scan(view: View, report: Report) -> None:
    source = view.source
    try:
        with zipfile.ZipFile(Reader(source)) as archive:
            members = archive.infolist()
            prefix = archive.start_dir
    except (
        zipfile.BadZipFile,
        struct.error,
        ValueError,
        NotImplementedError,
        OverflowError,
        EOFError,
    ) as error:
        if not view.head.startswith((_LOCAL, _END)):
            return  # a directory's end by chance
        report.add("unreadable", f"a zip archive whose directory cannot be read: {error}")
        _locals(view, report)
        return
    check_names([(each.filename, _kind(each)) for each in members], report)
    _check_places(members, prefix, report)
    if members and not view.head.startswith((_LOCAL, _END)):
        report.add("note", "a zip archive with something else before it")
    script = any(each.filename.endswith("/constants.pkl") for each in members)
    for member in members:
        if member.is_dir() and not member.file_size:
            continue
        inner = _member(source, member, report.budget)
        if isinstance(inner, str):
            report.add("unreadable", f"the member {member.filename[:200]}: {inner}")
            continue
        below = view.inside(inner, member.filename, script=script and _of_script(member.filename))
        report.look(below)
        if isinstance(inner, Expanded) and inner.broken:
            report.add("unreadable", f"the member {member.filename[:200]} breaks off: {inner.broken}")


def check_names(members: list[tuple[str, str]], report: Report) -> None:
    """Name what an archive's names try. ``members``: each with *file*, *folder*, *link* or *device*."""
    seen: dict[str, str] = {}
    for name, kind in members:
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or (len(parts[0]) == 2 and parts[0][1] == ":"):
            report.add(
                "malicious", f"a member that would lie outside of its folder: {name[:200]}", None, name
            )
        if any(ord(each) < 32 for each in name):
            report.add(
                "malicious", f"a member with control characters in its name: {name[:200]}", None, name
            )
        if kind == "link":
            report.add("executes", f"a member that is a link: {name[:200]}", None, name)
        if kind == "device":
            report.add("malicious", f"a member that is a device or a pipe: {name[:200]}", None, name)
        if kind == "folder":
            continue
        folded = unicodedata.normalize("NFKC", name).casefold()
        if folded in seen:
            how = "twice" if seen[folded] == name else f"like {seen[folded][:200]} on some machines"
            report.add("malicious", f"a member that is there {how}: {name[:200]}", None, name)
        seen.setdefault(folded, name)


def _kind(member: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(member.external_attr >> 16)
    if mode == stat.S_IFLNK:
        return "link"
    if mode in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
        return "device"
    return "folder" if member.is_dir() else "file"


def _check_places(members: list[zipfile.ZipInfo], directory: int, report: Report) -> None:
    reached, former = 0, ""
    for member in sorted(members, key=lambda each: each.header_offset):
        if member.header_offset < reached:
            report.add("malicious", f"the members {former[:100]} and {member.filename[:100]} overlap: a bomb", member.header_offset)  # fmt: skip
            return
        reached, former = member.header_offset + 30 + member.compress_size, member.filename
    if reached > directory:
        report.add("unreadable", "its members reach into its directory", directory)


def _member(source: Source, member: zipfile.ZipInfo, budget: Budget) -> Source | str:
    """A member's bytes, or why they cannot be had."""
    header = source.read(member.header_offset, 30)
    if header[:4] != _LOCAL or len(header) < 30:
        return "it is not where the directory says"
    name, extra = struct.unpack_from("<HH", header, 26)
    stored = Part(source, member.header_offset + 30 + name + extra, member.compress_size)
    told = source.read(member.header_offset + 30, name)
    if told != member.orig_filename.encode("utf-8" if member.flag_bits & 0x800 else "cp437", "replace"):
        return f"it is called {told[:100].decode('latin-1')} before its bytes"
    if member.compress_type != zipfile.ZIP_STORED and member.compress_size == 0:
        return "it has no bytes"
    match member.compress_type:
        case zipfile.ZIP_STORED:
            if member.flag_bits & 1:
                return "it is locked with a password"
            return stored
        case zipfile.ZIP_DEFLATED:
            if member.flag_bits & 1 and not _inflates(stored):
                return "it is locked with a password"
            return Expanded(lambda: inflate(stored, -15), budget)
        case zipfile.ZIP_BZIP2:
            return Expanded(lambda: pieces(stored, bz2.BZ2Decompressor), budget)
        case zipfile.ZIP_LZMA:
            return Expanded(lambda: _lzma(stored), budget)
        case 93:
            from modelyard.registry.scan.compressed import zstandard_pieces

            return Expanded(lambda: zstandard_pieces(stored), budget)
        case other:
            return f"it is compressed in a way ({other}) that is not read here"


def _inflates(stored: Source) -> bool:
    try:
        return bool(next(inflate(stored, -15), b""))
    except Broken:
        return False


def _lzma(stored: Source) -> Iterator[bytes]:
    head = stored.read(0, 4)
    length = struct.unpack_from("<H", head, 2)[0] if len(head) == 4 else 0
    if length != 5:
        raise Broken("its LZMA header is not valid")
    properties = stored.read(4, 5)
    options = properties[0]
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": min(struct.unpack("<I", properties[1:])[0], 1 << 26),
                "lc": options % 9, "lp": options // 9 % 5, "pb": options // 45}]  # fmt: skip
    body = Part(stored, 9, stored.size - 9)
    yield from pieces(body, lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters), endless=True)


def _of_script(name: str) -> bool:
    """The pickles of a TorchScript archive that its own reader loads, and nothing of Python."""
    return name.rpartition("/")[2] in ("data.pkl", "constants.pkl", "traced_inputs.pkl", "attributes.pkl") or name.endswith(
        ".debug_pkl"
    )  # fmt: skip


def _locals(view: View, report: Report) -> None:
    """Members of a zip without a directory, found by their headers: what PyTorch's stream reader would see."""
    data = view.source.read(0, 16 << 20)
    at = data.find(_LOCAL)
    while at >= 0 and at + 30 <= len(data):
        method, length, name, extra = (*struct.unpack_from("<H", data, at + 8), *struct.unpack_from("<I", data, at + 18),
                                       *struct.unpack_from("<HH", data, at + 26))  # fmt: skip
        start = at + 30 + name + extra
        stored = Part(view.source, start, length or len(data) - start)
        inner: Source = stored
        if method == zipfile.ZIP_DEFLATED:
            inner = Expanded(lambda stored=stored: inflate(stored, -15), report.budget)
        title = data[at + 30 : at + 30 + min(name, 200)].decode("utf-8", "replace")
        report.look(view.inside(inner, title))
        at = data.find(_LOCAL, at + 4)
