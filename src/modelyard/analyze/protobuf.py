"""A reader of the protobuf wire format that walks messages and skips what it is not asked for.

Source: https://protobuf.dev/programming-guides/encoding/. A message is a sequence of fields, each a
key (field number, wire type) and a value. Only keys, varints and the text that a caller asks for are
read; a length-delimited value is handed out as its place in the file, so skipping it costs nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple

from modelyard.analyze.window import Window
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 3_000_000
MAX_TEXT = 64 * 1024


class Span(NamedTuple):
    """Where a message lies in its file: ``start`` inclusive, ``stop`` exclusive, in bytes."""

    start: int
    stop: int


class Field(NamedTuple):
    """One field: ``value`` is the number of a varint; for BYTES, ``span`` is where they lie."""

    number: int
    wire: int
    value: int
    span: Span


class Reader:
    """Walks the messages of one file. Every method raises RejectedContent for what is malformed."""

    def __init__(self, files: Files, path: str, what: str) -> None:
        self.window = Window(files, path)
        self.path = path
        self._what = what  # "an ONNX model", for the sentences
        self._left = MAX_FIELDS

    def whole(self) -> Span:
        """The outermost message: the file."""
        return Span(0, self.window.size)

    def fields(self, span: Span) -> Iterator[Field]:
        """The fields of the message at ``span``, in the order of the file."""
        position, end = span
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise self.malformed(f"it has more than {MAX_FIELDS} fields")
            key, position = self._varint(position, end)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise self.malformed(f"there is no field number 0 (at byte {position})")
            if wire == VARINT:
                value, position = self._varint(position, end)
                yield Field(number, wire, value, Span(position, position))
                continue
            if wire == BYTES:
                length, position = self._varint(position, end)
            elif wire == FIXED64:
                length = 8
            elif wire == FIXED32:
                length = 4
            else:
                raise self.malformed(f"wire type {wire} at byte {position} is not used")
            if position + length > end:
                if end == self.window.size:
                    raise self.window.truncated(position + length)
                raise self.malformed(f"a field at byte {position} is longer than its message")
            yield Field(number, wire, length, Span(position, position + length))
            position += length

    def text(self, field: Field) -> str:
        """The UTF-8 string of a field (at most 64 KiB)."""
        start, stop = self.message(field)
        if stop - start > MAX_TEXT:
            raise self.malformed(f"a name or text of {stop - start} bytes is over the limit of {MAX_TEXT}")
        try:
            return self.window.read(start, stop - start).decode()
        except UnicodeDecodeError as error:
            raise self.malformed(f"a text at byte {start} is not UTF-8") from error

    def message(self, field: Field) -> Span:
        """Where the message in ``field`` lies."""
        if field.wire != BYTES:
            raise self.malformed(f"field {field.number} should hold a message or text")
        return field.span

    def integer(self, field: Field) -> int:
        """The signed 64-bit number of a varint field."""
        if field.wire != VARINT:
            raise self.malformed(f"field {field.number} should hold a whole number")
        return _signed(field.value)

    def integers(self, field: Field) -> Iterator[int]:
        """The numbers of a repeated field, whichever way (packed or not) they are written."""
        if field.wire != BYTES:
            yield self.integer(field)
            return
        position, end = field.span
        while position < end:
            value, position = self._varint(position, end)
            yield _signed(value)

    def malformed(self, why: str) -> RejectedContent:
        """The error for content that is not the format."""
        return RejectedContent(
            f"{self.path} is not {self._what}, or it is corrupt: {why}.", field=self.path
        )

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        window = self.window
        index = position - window.start
        if index < 0 or index + 10 > len(window.data):
            window.fill(position)
            index = 0
        data = window.data
        result = shift = 0
        limit = min(index + 10, index + end - position)
        while index < limit:
            byte = data[index]
            index += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result & 0xFFFF_FFFF_FFFF_FFFF, window.start + index
            shift += 7
        if shift >= 70:
            raise self.malformed(f"a number at byte {position} is longer than 64 bits")
        if end == window.size:
            raise window.truncated(end + 1)
        raise self.malformed(f"a number at byte {position} is longer than its message")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
