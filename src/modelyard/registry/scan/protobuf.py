"""The wire format of protobuf over a source: https://protobuf.dev/programming-guides/encoding/."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from modelyard.registry.scan.source import Source

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIELDS: Final = 2_000_000
_WINDOW: Final = 64 * 1024


class Field(NamedTuple):
    """``value``: of a varint; ``start`` and ``stop``: where the bytes of another lie."""

    number: int
    wire: int
    value: int
    start: int
    stop: int


class Messages:
    """Walks the messages of a source; ValueError for what is none, or has more than two million fields."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._left = _FIELDS
        self._start = 0
        self._data = b""

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        position = start
        while position < stop:
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"it has more than {_FIELDS:,} fields")
            key, position = self._varint(position, stop)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise ValueError(f"there is no field 0 (at byte {position})")
            value, begin = 0, position
            if wire == VARINT:
                value, position = self._varint(position, stop)
            elif wire == BYTES:
                length, begin = self._varint(position, stop)
                position = begin + length
            elif wire in (FIXED64, FIXED32):
                position += 8 if wire == FIXED64 else 4
            else:
                raise ValueError(f"a field of the kind {wire} at byte {position}")
            if position > stop:
                raise ValueError(f"a field at byte {begin} is longer than its message")
            yield Field(number, wire, value, begin, position)

    def text(self, field: Field) -> str:
        """Of at most 64 KiB; ValueError."""
        if field.wire != BYTES or field.stop - field.start > _WINDOW:
            raise ValueError("a text in it is none, or too long")
        return self.source.read(field.start, field.stop - field.start).decode("utf-8", "replace")

    def message(self, field: Field) -> Iterator[Field]:
        if field.wire != BYTES:
            return iter(())
        return self.fields(field.start, field.stop)

    def _varint(self, position: int, stop: int) -> tuple[int, int]:
        if position < self._start or position + 10 > self._start + len(self._data):
            self._start, self._data = position, self.source.read(position, _WINDOW)
        result = shift = 0
        for index in range(position - self._start, min(position - self._start + 10, len(self._data))):
            if index + self._start >= stop:
                break
            byte = self._data[index]
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result, self._start + index + 1
            shift += 7
        raise ValueError(f"a number at byte {position} does not end")
