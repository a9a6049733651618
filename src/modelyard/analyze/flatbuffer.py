"""A reader of FlatBuffers that goes to the fields it is asked for, inside bounds.

Source: https://flatbuffers.dev/internals. All is little-endian. A table begins with the distance back to its vtable, which
has its own size, the table's size, and for each field its place in the table (0: not there); texts, vectors and other
tables are told by the distance to them. The numbers of fields are those of the order in the schema.
"""

import struct
from collections.abc import Iterator
from typing import Final

from modelyard.analyze.window import Window
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

_MOST_STEPS: Final = 3_000_000
_LONGEST_TEXT: Final = 64 * 1024
_LONGEST_BYTES: Final = 64 * 1024 * 1024


class FlatBuffer:
    """The buffer that begins at ``begin`` of one file. Everything raises RejectedContent for what is malformed."""

    def __init__(self, files: Files, path: str, what: str, begin: int = 0) -> None:
        self.window = Window(files, path)
        self.path = path
        self._what = what  # "a TensorFlow Lite model", for the sentences
        self._begin = begin
        self._left = _MOST_STEPS

    def root(self) -> "Table":
        """The outermost table."""
        return Table(self, self._begin + self.number("<I", self._begin))

    def number(self, form: str, position: int) -> int:
        """The whole number of the struct form ``form`` at ``position``."""
        self.step()
        return struct.unpack(form, self.read(position, struct.calcsize(form)))[0]

    def read(self, position: int, length: int) -> bytes:
        """Bytes at a place that the content told."""
        if position < self._begin:
            raise self.malformed(f"a place before its begin is told ({position})")
        return self.window.read(position, length)

    def step(self, count: int = 1) -> None:
        """Count what is read: a buffer that leads round in circles ends here."""
        self._left -= count
        if self._left < 0:
            raise self.malformed(f"reading it takes more than {_MOST_STEPS} steps")

    def malformed(self, why: str) -> RejectedContent:
        """The error for content that is not the format."""
        return RejectedContent(
            f"{self.path} is not {self._what}, or it is corrupt: {why}.", field=self.path
        )


class Table:
    """One table. A field that is not there has its default."""

    def __init__(self, buffer: FlatBuffer, position: int) -> None:
        self._buffer = buffer
        self._position = position
        vtable = position - buffer.number("<i", position)
        size = buffer.number("<H", vtable)
        if size < 4 or size % 2:
            raise buffer.malformed(f"the table at byte {position} has a vtable of {size} bytes")
        self._fields = struct.unpack(f"<{size // 2}H", buffer.read(vtable, size))[2:]

    def has(self, field: int) -> bool:
        """Whether the field is there."""
        return self._at(field) is not None

    def number(self, field: int, form: str = "<i", default: int = 0) -> int:
        """A whole number."""
        position = self._at(field)
        return default if position is None else self._buffer.number(form, position)

    def table(self, field: int) -> "Table | None":
        """A table inside."""
        position = self._followed(field)
        return None if position is None else Table(self._buffer, position)

    def text(self, field: int, longest: int = _LONGEST_TEXT) -> str:
        """A text of at most so many bytes; empty when there is none."""
        begin, length = self._vector(field, 1)
        if length > longest:
            raise self._buffer.malformed(f"a text in it has {length} bytes")
        return self._buffer.read(begin, length).decode("utf-8", "replace") if length else ""

    def bytes_at(self, field: int) -> tuple[int, int]:
        """Where the bytes of a vector of bytes begin, and how many they are."""
        return self._vector(field, 1)

    def bytes_of(self, begin: int, length: int) -> bytes:
        """Bytes at a place that :meth:`bytes_at` told."""
        return self._buffer.read(begin, length) if length else b""

    def length(self, field: int) -> int:
        """How many items a vector has."""
        return self._vector(field, 1)[1]

    def numbers(self, field: int, form: str = "i") -> list[int]:
        """A vector of whole numbers of the struct letter ``form``."""
        width = struct.calcsize("<" + form)
        begin, count = self._vector(field, width)
        if count * width > _LONGEST_BYTES:
            raise self._buffer.malformed(f"a list in it has {count} numbers")
        self._buffer.step(count)
        return list(struct.unpack(f"<{count}{form}", self._buffer.read(begin, count * width)))

    def tables(self, field: int) -> Iterator["Table"]:
        """A vector of tables."""
        begin, count = self._vector(field, 4)
        for index in range(count):
            position = begin + 4 * index
            yield Table(self._buffer, position + self._buffer.number("<I", position))

    def _at(self, field: int) -> int | None:
        offset = self._fields[field] if field < len(self._fields) else 0
        return self._position + offset if offset else None

    def _followed(self, field: int) -> int | None:
        position = self._at(field)
        return None if position is None else position + self._buffer.number("<I", position)

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        position = self._followed(field)
        if position is None:
            return 0, 0
        count = self._buffer.number("<I", position)
        if position + 4 + count * width > self._buffer.window.size:
            raise self._buffer.window.truncated(position + 4 + count * width)
        return position + 4, count
