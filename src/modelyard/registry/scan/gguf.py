"""GGUF: nothing in it executes but its chat templates, which are programs of Jinja.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import struct
from typing import Final

from modelyard.registry.scan import templates
from modelyard.registry.scan.source import Forward
from modelyard.registry.scan.view import Report, View

NAME: Final = "a GGUF file"
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9
_KEYS, _TENSORS, _ITEMS, _TEXT = 100_000, 1_000_000, 10_000_000, 4 * 1024 * 1024


def looks(view: View) -> bool:
    return view.head.startswith(b"GGUF")


def scan(view: View, report: Report) -> None:
    stream = Forward(view.source, 4)
    size = view.source.size
    version = _number(stream, 4)
    if version not in (2, 3):
        raise ValueError(f"its version is {version}")
    tensors, keys = _number(stream, 8), _number(stream, 8)
    if keys > _KEYS or tensors > _TENSORS:
        raise ValueError(f"it would have {tensors:,} tensors and {keys:,} keys")
    for _ in range(keys):
        key = _text(stream, size).decode("utf-8", "replace")
        kind = _number(stream, 4)
        offset = stream.position
        if kind == _STRING:
            text = _text(stream, size)
            if "template" in key or b"{%" in text or b"{{" in text:
                templates.check(text.decode("utf-8", "replace"), report, offset, key[:200])
        elif kind == _ARRAY:
            inner, count = _number(stream, 4), _number(stream, 8)
            if count > _ITEMS or (inner not in _SIZES and inner != _STRING):
                raise ValueError(f"a list in its header would have {count:,} items of the type {inner}")
            for _ in range(count if inner == _STRING else 0):
                stream.skip(_length(stream, size))
            if inner in _SIZES:
                stream.skip(count * _SIZES[inner])
        elif kind in _SIZES:
            stream.skip(_SIZES[kind])
        else:
            raise ValueError(f"a value in its header is of the type {kind}")
        if stream.position > size:
            raise EOFError("its header is longer than the file")


def _number(stream: Forward, width: int) -> int:
    return int(struct.unpack("<I" if width == 4 else "<Q", stream.read(width))[0])


def _length(stream: Forward, size: int) -> int:
    length = _number(stream, 8)
    if length > size:
        raise ValueError(f"a text in its header would have {length} bytes")
    return length


def _text(stream: Forward, size: int) -> bytes:
    length = _length(stream, size)
    if length > _TEXT:
        raise ValueError(f"a text in its header has {length} bytes")
    return stream.read(length)
