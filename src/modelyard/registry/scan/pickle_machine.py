"""The walk over one pickle: its opcodes run on descriptions, and nothing is imported, made or called.

They are those of https://docs.python.org/3/library/pickletools.html, as ``pickle.py`` and ``_pickle.c`` carry them out;
where the two differ, the walk goes on as the more patient one does. joblib writes the bytes of arrays raw between the
opcodes (https://github.com/joblib/joblib/blob/main/joblib/numpy_pickle.py); they are passed over.
"""

import codecs
import re
import struct
import warnings
from typing import Final

from modelyard.registry.scan.pickle_stack import (
    UNKNOWN,
    Break,
    Made,
    PickleStack,
    Reference,
    Unknown,
    Walked,
)
from modelyard.registry.scan.source import Forward, LineTooLong, Source

_NAME: Final = 1024 * 1024  # bytes of a global's name
_KEPT: Final = 64 * 1024  # bytes of a text or byte string that is kept
_NESTED: Final = 16 * 1024 * 1024  # bytes of a byte string that may be a pickle itself
_NUMBER: Final = re.compile(rb"\s*[+-]?\s*(0[xXoObB])?[0-9a-fA-F_]+\s*")
_WRAPPER: Final = ("joblib.numpy_pickle", "NumpyArrayWrapper")
MARKED: Final = frozenset(b"\x00\x01\x02\x03\x04\x05")  # protocols, behind the byte 0x80


def walk(source: Source, start: int, most: int, *, raw: bool = True) -> Walked:
    """Walk over the pickle at ``start``, at most ``most`` opcodes. Never raises for what a pickle may hold.

    ``raw``: as joblib reads it, with the bytes of arrays between the opcodes.
    """
    machine = _Machine(source, start, most, raw)
    walked = machine.walked
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python has opinions on backslashes
            machine.run()
    except EOFError:
        walked.broken = "it ends in the middle"
    except MemoryError:
        walked.broken, walked.bounded = "it takes too much memory to be read", True
    except (
        Break,
        ValueError,
        OverflowError,
        RecursionError,
        LookupError,
        TypeError,
        struct.error,
    ) as error:
        walked.broken = str(error) or type(error).__name__
    walked.end = machine.stream.position
    return walked


class _Machine(PickleStack):
    def __init__(self, source: Source, start: int, most: int, raw: bool) -> None:
        super().__init__()
        self.stream = Forward(source, start)
        self.size = source.size
        self._most = most
        self._joblib = raw

    def run(self) -> None:
        walked = self.walked
        handlers = _HANDLERS
        while True:
            walked.opcodes += 1
            if walked.opcodes > self._most:
                walked.bounded = True
                raise Break(f"it has more than {self._most:,} opcodes")
            code = self.stream.read(1)[0]  # another one behind an array of objects
            if code == 0x2E:  # STOP
                self._pop()
                walked.stopped = True
                return
            handler = handlers.get(code)
            if handler is None:
                raise Break(f"{code:#04x} is no opcode")
            handler(self)

    # --- values

    def number(self, width: int) -> int:
        return int.from_bytes(self.stream.read(width), "little")

    def pass_bytes(self, width: int) -> None:
        self.stream.read(width)
        self._push(UNKNOWN)

    def int1(self) -> None:
        self._push(self.stream.read(1)[0])

    def int2(self) -> None:
        self._push(self.number(2))

    def int4(self) -> None:
        self._push(int.from_bytes(self.stream.read(4), "little", signed=True))

    def long(self, width: int) -> None:
        length = int.from_bytes(self.stream.read(width), "little", signed=width == 4)
        if length < 0:
            raise Break("a number has a negative length")
        if length > _KEPT:
            self._skip(length)
            self._push(UNKNOWN)
        else:
            self._push(int.from_bytes(self.stream.read(length), "little", signed=True))

    def int_line(self) -> None:
        self._push(_integer(self.stream.line(_KEPT)))

    def long_line(self) -> None:
        self._push(_integer(self.stream.line(_KEPT).rstrip(b"L")))

    def float_line(self) -> None:
        float(self.stream.line(_KEPT))
        self._push(UNKNOWN)

    def _skip(self, length: int) -> None:
        if self.stream.position + length > self.size:
            raise EOFError
        self.stream.skip(length)

    def _data(self, length: int) -> bytes | None:
        """The bytes; None for long ones, which are looked at when they could be a pickle."""
        if length <= _KEPT:
            return self.stream.read(length)
        here = self.stream.position
        if length <= _NESTED and here + length <= self.size and self.stream.peek(2)[:1] == b"\x80":
            data = self.stream.read(length)
            self._nested(here, data)
            return None
        self._skip(length)
        return None

    def _nested(self, offset: int, data: bytes) -> None:
        if data[:1] == b"\x80" and data[1:2] and data[1] in MARKED and len(data) > 3:
            self.walked.nested.append((offset, data))

    def text(self, width: int) -> None:
        length = self.number(width)
        data = self._data(length)
        self._push(UNKNOWN if data is None else data.decode("utf-8", "surrogatepass"))

    def binary(self, width: int, signed: bool = False) -> None:
        length = int.from_bytes(self.stream.read(width), "little", signed=signed)
        if length < 0:
            raise Break("a byte string has a negative length")
        here = self.stream.position
        data = self._data(length)
        if data is not None:
            self._nested(here, data)
        self._push(UNKNOWN)

    def string(self, width: int) -> None:
        """A string of Python 2, which is a text in Python 3 by an encoding that its reader chooses."""
        length = int.from_bytes(self.stream.read(width), "little", signed=width == 4)
        if length < 0:
            raise Break("a string has a negative length")
        here = self.stream.position
        data = self._data(length)
        if data is not None:
            self._nested(here, data)
        self._push(UNKNOWN if data is None else data.decode("latin-1"))

    def string_line(self) -> None:
        data = self.stream.line(_KEPT)
        # As pickle.py and _pickle.c do it: without the quotes, whatever white space the line has behind them.
        data = data.rstrip()
        if len(data) < 2 or data[:1] not in (b'"', b"'") or data[-1:] != data[:1]:
            raise Break("a string has no quotes")
        self._push(codecs.escape_decode(data[1:-1])[0].decode("latin-1"))  # type: ignore[attr-defined]

    def unicode_line(self) -> None:
        self._push(self.stream.line(_KEPT).decode("raw-unicode-escape"))

    # --- globals and calls

    def reference(self, module: object, name: object, offset: int) -> None:
        if isinstance(module, str) and isinstance(name, str):
            self._push(Reference(module, name, offset))
            self.walked.references.append(Reference(module, name, offset))
        elif isinstance(module, Unknown | Made) or isinstance(name, Unknown | Made):
            self.walked.hidden.append((offset, "a global whose name is computed"))
            self._push(UNKNOWN)
            self.walked.calls += 1
        else:
            raise Break("a global has no name")

    def global_line(self) -> tuple[str, str, int]:
        offset = self.stream.position - 1
        try:
            module, name = self.stream.line(_NAME), self.stream.line(_NAME)
        except LineTooLong:
            self.walked.hidden.append((offset, "a global whose name is over a megabyte"))
            raise
        return module.decode("utf-8"), name.decode("utf-8"), offset

    def global_(self) -> None:
        self.reference(*self.global_line())

    def stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self.reference(module, name, self.stream.position - 1)

    def inst(self) -> None:
        module, name, offset = self.global_line()
        self.walked.references.append(Reference(module, name, offset))  # looked up first of all
        self._call(Reference(module, name, offset), tuple(self._unmark()))

    def obj(self) -> None:
        items = self._unmark()
        if not items:
            raise Break("its opcodes do not fit together")
        self._call(items[0], tuple(items[1:]))

    def reduce(self) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def new_ex(self) -> None:
        self._pop()
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _call(self, what: object, arguments: object) -> None:
        if isinstance(what, str | int | tuple | dict) and not isinstance(what, Reference):
            raise Break("it calls what cannot be called")
        self.walked.calls += 1
        self._push(Made(what, arguments))

    def extension(self, width: int) -> None:
        offset = self.stream.position - 1
        code = int.from_bytes(self.stream.read(width), "little", signed=width == 4)
        if code <= 0:
            raise Break(f"there is no extension {code}")
        self.walked.hidden.append((offset, f"extension {code} of copyreg's registry"))
        self.walked.calls += 1
        self._push(UNKNOWN)

    def build(self) -> None:
        offset = self.stream.position - 1
        state = self._pop()
        target = self._top()
        if isinstance(target, Reference):
            self.walked.built.append(offset)
        if isinstance(target, Made):
            target.state = state
            if self._joblib and isinstance(target.by, Reference) and target.by[:2] == _WRAPPER:
                self.walked.raw = True
                self._raw(state)

    def _raw(self, state: object) -> None:
        """Pass over an array that joblib wrote raw behind its wrapper; one of objects is a pickle of its own."""
        if not isinstance(state, dict):
            raise Break("an array has no shape")
        shape, dtype = state.get("shape"), state.get("dtype")
        if not isinstance(dtype, Made) or not isinstance(dtype.arguments, tuple) or not dtype.arguments:
            raise Break("an array has no type")
        kind = dtype.arguments[0]
        if not isinstance(shape, tuple) or not isinstance(kind, str):
            raise Break("an array has no shape or type")
        kind = kind.lstrip("<>|=")
        if kind[:1] == "O":
            inner = _Machine(self.stream.source, self.stream.position, self._most - self.walked.opcodes, True)  # fmt: skip
            try:
                inner.run()
            finally:
                self._adopt(inner)
            return
        size = 4 * int(kind[1:] or 1) if kind[:1] == "U" else int(kind[1:] or 1)
        declared = dtype.state[5] if isinstance(dtype.state, tuple) and len(dtype.state) > 5 else None
        if isinstance(declared, int) and declared > 0:
            size = declared
        for length in shape:
            if not isinstance(length, int) or length < 0:
                raise Break("an array has no shape")
            size *= length
        if state.get("numpy_array_alignment_bytes") is not None:
            self._skip(self.stream.read(1)[0])
        self._skip(size)

    def _adopt(self, inner: "_Machine") -> None:
        mine, other = self.walked, inner.walked
        mine.references += other.references
        mine.hidden += other.hidden
        mine.nested += other.nested
        mine.built += other.built
        mine.calls += other.calls
        mine.opcodes += other.opcodes
        self.stream = inner.stream

    # --- the rest

    def proto(self) -> None:
        if self.stream.read(1)[0] not in MARKED:
            raise Break("its protocol is not known")

    def frame(self) -> None:
        self.stream.read(8)

    def persid(self) -> None:
        self.stream.line(_KEPT)
        self._push(UNKNOWN)

    def binpersid(self) -> None:
        self._pop()
        self._push(UNKNOWN)

    def nothing(self) -> None:
        pass


_HANDLERS: Final = {
    ord("("): _Machine.mark, ord("0"): _Machine.pop, ord("1"): _Machine.pop_mark, ord("2"): _Machine.dup,
    ord("F"): _Machine.float_line, ord("I"): _Machine.int_line, ord("J"): _Machine.int4, ord("K"): _Machine.int1,
    ord("L"): _Machine.long_line, ord("M"): _Machine.int2, ord("N"): _Machine.none, ord("P"): _Machine.persid,
    ord("Q"): _Machine.binpersid, ord("R"): _Machine.reduce, ord("S"): _Machine.string_line,
    ord("T"): lambda m: m.string(4), ord("U"): lambda m: m.string(1), ord("V"): _Machine.unicode_line,
    ord("X"): lambda m: m.text(4), ord("a"): _Machine.one, ord("b"): _Machine.build, ord("c"): _Machine.global_,
    ord("d"): _Machine.container, ord("}"): _Machine.dictionary, ord("e"): _Machine.items,
    ord("g"): lambda m: m.get(int(m.stream.line(_KEPT))), ord("h"): lambda m: m.get(m.number(1)),
    ord("j"): lambda m: m.get(m.number(4)), ord("i"): _Machine.inst, ord("l"): _Machine.container,
    ord("]"): _Machine.unknown, ord("o"): _Machine.obj, ord("p"): lambda m: m.put(int(m.stream.line(_KEPT))),
    ord("q"): lambda m: m.put(m.number(1)), ord("r"): lambda m: m.put(m.number(4)), ord("s"): _Machine.pair,
    0x97: _Machine.unknown, ord("t"): _Machine.tuple_marked, ord(")"): lambda m: m.tuple_of(0), ord("u"): _Machine.pairs,
    ord("G"): lambda m: m.pass_bytes(8), ord("B"): lambda m: m.binary(4), ord("C"): lambda m: m.binary(1),
    0x80: _Machine.proto, 0x81: _Machine.reduce, 0x82: lambda m: m.extension(1), 0x83: lambda m: m.extension(2),
    0x84: lambda m: m.extension(4), 0x85: lambda m: m.tuple_of(1), 0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3), 0x88: _Machine.unknown, 0x89: _Machine.unknown, 0x8A: lambda m: m.long(1),
    0x8B: lambda m: m.long(4), 0x8C: lambda m: m.text(1), 0x8D: lambda m: m.text(8), 0x8E: lambda m: m.binary(8),
    0x8F: _Machine.unknown, 0x90: _Machine.items, 0x91: _Machine.container, 0x92: _Machine.new_ex,
    0x93: _Machine.stack_global, 0x94: _Machine.memoize, 0x95: _Machine.frame,
    0x96: lambda m: m.binary(8), 0x98: _Machine.nothing,
}  # fmt: skip


def _integer(line: bytes) -> object:
    """The number of a line. C reads some that Python does not, and no line of text is one."""
    if line in (b"00", b"01"):
        return UNKNOWN  # False and True
    if not _NUMBER.fullmatch(line):
        raise Break("a number in it is none")
    try:
        return int(line, 0) if len(line) < 20 else UNKNOWN
    except ValueError:
        return UNKNOWN
