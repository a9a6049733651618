"""A reader of UBJSON that keeps names and texts and passes over arrays of numbers.

Source: https://ubjson.org (draft 12). Numbers are big-endian. An array or object may say how many items
it has (``#``), and then has no end mark; one of items of one type (``$``) has raw values.
"""

import struct
from typing import Final, NoReturn

from modelyard.analyze.streams import Stream
from modelyard.analyze.window import Window
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

_NUMBERS: Final = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
_WHOLE: Final = frozenset({b"i", b"U", b"I", b"l", b"L"})
_CONSTANTS: Final = {b"Z": None, b"T": True, b"F": False}
_LONGEST = 1024 * 1024  # bytes of a text that is read
_DEEPEST = 32
_MOST_VALUES = 5_000_000
_KEPT = 16  # an array of as many numbers at most is read; a longer one is None


class Ubjson:
    """Reads one file. Raises RejectedContent for what is malformed or cut short."""

    def __init__(self, files: Files, path: str, what: str) -> None:
        self._stream = Stream(Window(files, path))
        self._path = path
        self._what = what  # "an XGBoost model", for the sentences
        self._left = _MOST_VALUES

    def value(self, passed: frozenset[str] = frozenset()) -> object:
        """The outermost value. What lies under a key of ``passed`` is walked and not kept."""
        return self._value(self._stream.read(1), passed, 0)

    def _value(self, mark: bytes, passed: frozenset[str], depth: int) -> object:
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            self._malformed("it is nested too deep, or has too many values")
        if mark in _CONSTANTS:
            return _CONSTANTS[mark]
        if mark in _NUMBERS:
            return self._number(mark)
        if mark == b"S":
            return self._text(self._stream.read(1))
        if mark == b"C":
            return self._stream.read(1).decode("latin-1")
        if mark == b"[":
            return self._array(passed, depth)
        if mark == b"{":
            return self._object(passed, depth)
        self._malformed(f"there is no type {mark!r}")

    def _array(self, passed: frozenset[str], depth: int) -> list[object] | None:
        kind, count, mark = self._head()
        if kind in _NUMBERS and count is not None:
            if count > _KEPT:
                self._stream.skip(count * struct.calcsize(_NUMBERS[kind]))
                return None
            return [self._number(kind) for _ in range(count)]
        items: list[object] = []
        while count is None or len(items) < count:
            if count is None and mark == b"]":
                break
            items.append(self._value(kind or mark or self._stream.read(1), passed, depth + 1))
            mark = self._stream.read(1) if count is None else b""
        return items

    def _object(self, passed: frozenset[str], depth: int) -> dict[str, object]:
        kind, count, mark = self._head()
        items: dict[str, object] = {}
        met = 0
        while count is None or met < count:
            if count is None and mark == b"}":
                break
            key = self._text(mark or self._stream.read(1))
            value = self._value(kind or self._stream.read(1), passed, depth + 1)
            items[key] = None if key in passed else value
            met += 1
            mark = self._stream.read(1) if count is None else b""
        return items

    def _head(self) -> tuple[bytes, int | None, bytes]:
        """(type of all items or empty, how many there are or None, the mark that was read already)."""
        kind, mark = b"", self._stream.read(1)
        if mark == b"$":
            kind, mark = self._stream.read(1), self._stream.read(1)
            if mark != b"#":
                self._malformed("a list of one type does not tell how long it is")
        if mark != b"#":
            return kind, None, mark
        count = self._length(self._stream.read(1))
        if kind not in _NUMBERS and count > self._left:
            self._malformed(f"a list would have {count} items")
        return kind, count, b""

    def _number(self, mark: bytes) -> int | float:
        form = _NUMBERS[mark]
        return struct.unpack(form, self._stream.read(struct.calcsize(form)))[0]

    def _length(self, mark: bytes) -> int:
        if mark not in _WHOLE or (length := int(self._number(mark))) < 0:
            self._malformed("a length is not a whole number")
        return length

    def _text(self, mark: bytes) -> str:
        length = self._length(mark)
        if length > _LONGEST:
            self._malformed(f"a text would have {length} bytes")
        return self._stream.read(length).decode("utf-8", "replace")

    def _malformed(self, why: str) -> NoReturn:
        raise RejectedContent(
            f"{self._path} is not {self._what}, or it is corrupt: {why}.", field=self._path
        )
