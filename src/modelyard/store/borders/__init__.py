"""Where a file is cut into pieces: at the borders of its tensors where the format tells them, else by its content.

Readers of headers alone, one file per format, each a pure function of bytes. They are not those of ``analyze``,
which refuses what it cannot vouch for: here a file that is not what it seems is cut by its content.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from modelyard.store.borders import content, gguf, onnx, safetensors, torch_zip
from modelyard.store.borders.source import FileSource, Source, Unreadable

__all__ = ["LEAST", "PART", "FileSource", "Source", "Unreadable", "cut", "outside"]

LEAST: Final = 16 * 1024  # bytes of a tensor that is a piece of its own
PART: Final = 4 * 1024 * 1024  # bytes of a piece at most
_FORMATS: Final = (safetensors, gguf, torch_zip, onnx)


def cut(source: Source, told: Iterable[tuple[int, int]] = ()) -> Iterator[tuple[int, int]]:
    """Offset and length of every piece, in order and without gaps.

    ``told`` are tensors that another file describes (the external data of an ONNX model).
    """
    spans = list(told) or _spans(source)
    position = 0
    for offset, length in sorted(spans):
        if length < LEAST or offset < position or offset + length > source.size:
            continue
        yield from _between(source, position, offset)
        for start in range(offset, offset + length, PART):
            yield start, min(PART, offset + length - start)
        position = offset + length
    yield from _between(source, position, source.size)


def outside(source: Source) -> list[tuple[str, int, int]]:
    """What an ONNX model says of other files: path, offset and length of each tensor; nothing for what is none."""
    if not onnx.fits(source.read(0, min(16, source.size)), source.size):
        return []
    try:
        return onnx.outside(source)
    except Unreadable:
        return []


def _spans(source: Source) -> list[tuple[int, int]]:
    head = source.read(0, min(16, source.size))
    for each in _FORMATS:
        if each.fits(head, source.size):
            try:
                return each.spans(source)
            except Unreadable:
                return []
    return []


def _between(source: Source, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """What belongs to no tensor."""
    if stop - start <= content.LEAST:
        if stop > start:
            yield start, stop - start
        return
    for length in content.lengths(source, start, stop):
        yield start, length
        start += length
