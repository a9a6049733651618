"""Files that attack who reads them: headers that claim too much, bombs, streams that break off.

``reaches`` is a part of what the verdict must say; ``size`` and ``read`` are there instead of ``data`` where the file
would be too large to be made.
"""

import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

from support.attacks.containers import tarred, zipped


class Lie(NamedTuple):
    name: str
    size: int
    read: Callable[[int, int], bytes]
    reaches: str


def _held(data: bytes) -> tuple[int, Callable[[int, int], bytes]]:
    return len(data), lambda offset, length: data[offset : offset + length]


def _endless(head: bytes, size: int, fill: bytes = b" ") -> tuple[int, Callable[[int, int], bytes]]:
    """``head``, and then the same byte up to ``size``."""

    def read(offset: int, length: int) -> bytes:
        length = max(0, min(length, size - offset))
        begun = head[offset : offset + length]
        return begun + fill * (length - len(begun))

    return size, read


def _zeros(size: int) -> bytes:
    """zlib of so many zeros, made in little memory."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = bytes(1 << 20)
    return b"".join([*(packer.compress(piece) for _ in range(size >> 20)), packer.flush()])


def _nested_zip(levels: int) -> bytes:
    data, name = bytes(1 << 20), "zeros"
    for _ in range(levels):
        data, name = zipped({f"{index}-{name}": data for index in range(16)}), "more.zip"
    return data


def _overlapping_zip() -> bytes:
    """Many members whose bytes are the same ones."""
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = body.compress(bytes(1 << 22)) + body.flush()
    local = (
        struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), 1 << 22, 1, 0)
        + b"a"
        + packed
    )
    entries = b"".join(
        struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, 0, 0, len(packed), 1 << 22, 1, 0, 0, 0, 0, 0, 0) + b"a"
        for _ in range(1000)
    )  # fmt: skip
    return (
        local
        + entries
        + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1000, 1000, len(entries), len(local), 0)
    )


def _safetensors(header: dict[str, object], room: int = 16) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(room)


def _tensor(begin: int, end: int) -> dict[str, object]:
    return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}


def _npy(shape: str, descr: str = "'<f8'", claimed: int | None = None) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text) if claimed is None else claimed) + text


def lies() -> list[Lie]:
    """All of them."""
    made: list[Lie] = []

    def add(name: str, data: bytes | tuple[int, Callable[[int, int], bytes]], reaches: str) -> None:
        size, read = _held(data) if isinstance(data, bytes) else data
        made.append(Lie(name, size, read, reaches))

    add("claims.npy", _npy("(1000000000000000000,)"), "claims")
    add("claims-many-axes.npy", _npy("(" + "1000," * 30 + ")"), "claims")
    add("long-header.npy", _npy("(1,)", claimed=0xFFFFFFF0), "header")
    add("deep-header.npy", _npy("(" * 2000 + ")" * 2000), "cannot be read")
    add(
        "header-of-100-MB.safetensors",
        _endless(struct.pack("<Q", 100 << 20) + b'{"a":', 200 << 20),
        "header",
    )
    add("header-of-10-18.safetensors", struct.pack("<Q", 10**18) + b"{}" + bytes(100), "header")
    add("overlapping.safetensors", _safetensors({"a": _tensor(0, 12), "b": _tensor(8, 16)}), "overlap")
    add("outside.safetensors", _safetensors({"a": _tensor(0, 10**18)}), "outside")
    add("backwards.safetensors", _safetensors({"a": _tensor(8, 4)}), "outside")
    add("deep.safetensors", struct.pack("<Q", 200_000) + b"[" * 200_000, "cannot be read")
    add("keys.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 10**18), "keys")
    add("tensors.gguf", b"GGUF" + struct.pack("<IQQ", 3, 10**18, 0), "tensors")
    add("text.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 10**18), "text")
    add(
        "list.gguf",
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 10**18),
        "list",
    )
    add("deep.json/config.json", b"[" * 200_000, "cannot be read")
    add("100-MB.json/config.json", _endless(b'{"auto_map": "', 100 << 20, b"x"), "bytes")
    add("fields.onnx", b"\x08\x08" + b"\x3a\x04\x0a\x02\x0a\x00" * 800_000, "fields")
    add("length.onnx", b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "longer")
    add("marks.pkl", b"\x80\x04" + b"(" * 3_000_000, "marks")
    add("opcodes.pkl", _endless(b"\x80\x04", 1 << 30, b"N"), "opcodes")
    add("bytes.pkl", b"\x80\x04\x8e" + struct.pack("<Q", 10**18), "breaks off")
    add("text.pkl", b"\x80\x04\x8d" + struct.pack("<Q", 2**63 + 5), "breaks off")
    add("number.pkl", b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1), "breaks off")
    add("negative.pkl", b"\x80\x04\x8b" + struct.pack("<i", -5), "negative")
    add("line.pkl", _endless(b"\x80\x04cos", 1 << 30, b"x"), "over a megabyte")
    add("doubling.pkl", b"\x80\x04)" + b"2\x86" * 600_000, "breaks off")
    add("bomb.gz", _zeros(160 << 20), "bomb")
    add("bomb-of-bombs.gz", gzip.compress(_zeros(160 << 20)), "bomb")
    add("bomb.xz", lzma.compress(bytes(160 << 20), preset=0), "bomb")
    add("bomb.zip", zipped({"zeros": bytes(160 << 20)}), "bomb")
    add("nested.zip", _nested_zip(3), "bomb")
    add("overlapping.zip", _overlapping_zip(), "overlap")
    add("members.zip", _many_members(), "members")
    add("broken.gz", gzip.compress(bytes(range(256)) * 4000)[:-200], "break off")
    add("broken.zip", zipped({"a": bytes(range(256)) * 4000})[:-100], "directory")
    add("broken.tar", tarred({"a": bytes(10_000)})[:4000], "break")
    add("dictionary.lzma", b"\x5d" + struct.pack("<IQ", 0xFF000000, 10) + bytes(20), "break off")
    add("header.tar", _large_header(), "too large")
    add("deep.gz", _deep(), "deeper")
    add("directory.7z", b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<IQQI", 0, 0, 10**18, 0), "directory")
    return made


def _many_members() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for index in range(100_500):
            archive.writestr(zipfile.ZipInfo(f"{index}"), b"")
    return held.getvalue()


def _large_header() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("x")
        member.pax_headers = {"comment": "c" * 40_000_000}
        archive.addfile(member)
    return held.getvalue()


def _deep() -> bytes:
    data = b"x"
    for _ in range(40):
        data = gzip.compress(data)
    return data
