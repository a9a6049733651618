"""Reads what a pickle would build, without building it: the opcodes run on descriptions of objects.

The opcodes and their arguments come from the standard library's ``pickletools``
(https://docs.python.org/3/library/pickletools.html). joblib writes the bytes of NumPy arrays raw
between the opcodes, behind the state of a ``NumpyArrayWrapper``; they are passed over
(https://github.com/joblib/joblib/blob/main/joblib/numpy_pickle.py).
"""

import io
import pickletools
import warnings
from collections.abc import Callable

from modelyard.analyze.objects import (
    Array,
    Global,
    Instance,
    Opaque,
    Persistent,
    attributes,
    refuse_harmful,
)
from modelyard.analyze.streams import Stream
from modelyard.core.errors import RejectedContent

MAX_OPCODES = 8_000_000
MAX_VALUE = 1024  # longer texts and byte strings are passed over
MAX_KEPT = 64 * 1024 * 1024  # bytes of texts that are kept
_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
MAX_LENGTH = 1 << 48  # of one axis of an array
_MARK = object()
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


class Unpickling:
    """One walk over a stream. ``globals``: every class and function named, in order.

    ``complete`` is False when the walk stopped at its limit; ``root`` is then what was known so far. ``persistent``:
    parts may lie outside of the pickle, as PyTorch keeps its tensors' numbers; they are :class:`Persistent` then.
    """

    def __init__(self, stream: Stream, path: str, *, persistent: bool = False) -> None:
        self.path = path
        self.globals: dict[str, Global] = {}
        self.complete = True
        self.raw_arrays = False
        self._stream = stream
        self._persistent = persistent
        self._left = MAX_OPCODES
        self._kept = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools' readers have opinions on backslashes
            self.root = self._load(0)

    def _load(self, depth: int) -> object:
        if depth > 4:
            raise self._corrupt("pickles are nested in it")
        stack: list[object] = []
        memo: dict[int, object] = {}
        stream = self._stream
        try:
            while True:
                self._left -= 1
                if self._left < 0 or self._kept > MAX_KEPT:
                    self.complete = False
                    return stack[0] if stack else None
                opcode = _OPCODES.get(stream.read(1).decode("latin-1"))
                if opcode is None:
                    raise self._corrupt(f"at byte {stream.position - 1} there is no opcode of a pickle")
                name = opcode.name
                argument = self._argument(opcode) if opcode.arg is not None else None
                if name == "STOP":
                    return stack[-1]
                if name == "BUILD":
                    self._build(stack, depth)
                    if not self.complete:
                        return stack[0]
                elif name in _PUSH:
                    stack.append(argument)
                elif name in _CONSTANTS:
                    stack.append(_CONSTANTS[name]())
                elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
                    index = len(memo) if name == "MEMOIZE" else argument
                    memo[index if isinstance(index, int) else -1] = stack[-1]
                elif name in ("GET", "BINGET", "LONG_BINGET"):
                    stack.append(memo[argument if isinstance(argument, int) else -1])
                elif name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                    self._global(name, stack, argument)
                elif name == "BINPERSID" and self._persistent:
                    stack.append(Persistent(stack.pop()))
                elif name in ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER"):
                    raise self._foreign(name)
                else:
                    _apply(name, stack)
        except (IndexError, KeyError, ValueError, TypeError) as error:
            # What the file's opcodes ask for cannot be done: it is not a whole pickle.
            raise self._corrupt(f"its opcodes do not fit together near byte {stream.position}") from error

    def _argument(self, opcode: pickletools.OpcodeInfo) -> object:
        """Decode one argument; long ones become Opaque and are passed over."""
        argument = opcode.arg
        assert argument is not None
        size = argument.n
        stream = self._stream
        if size >= 0:
            return argument.reader(io.BytesIO(stream.read(size)))
        if size == pickletools.UP_TO_NEWLINE:
            line = stream.line() + b"\n"
            self._kept += len(line)
            if argument.name == "stringnl_noescape_pair":
                line += stream.line() + b"\n"
            return argument.reader(io.BytesIO(line))
        width = {
            pickletools.TAKEN_FROM_ARGUMENT1: 1,
            pickletools.TAKEN_FROM_ARGUMENT4: 4,
            pickletools.TAKEN_FROM_ARGUMENT4U: 4,
            pickletools.TAKEN_FROM_ARGUMENT8U: 8,
        }[size]
        prefix = stream.read(width)
        length = int.from_bytes(prefix, "little", signed=size == pickletools.TAKEN_FROM_ARGUMENT4)
        if length < 0:
            raise self._corrupt(f"a length of {length} stands at byte {stream.position - width}")
        if length > MAX_VALUE:
            stream.skip(length)
            return Opaque(length)
        self._kept += length
        return argument.reader(io.BytesIO(prefix + stream.read(length)))

    def _global(self, opcode: str, stack: list[object], argument: object) -> None:
        if opcode == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
        else:
            module, _, name = str(argument).partition(" ")
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._corrupt("a class in it has no name")
        found = Global(module, name)
        refuse_harmful(self.path, found)
        self.globals.setdefault(found.path, found)
        if opcode == "INST":
            stack.append(Instance(found, tuple(_pop_mark(stack))))
        else:
            stack.append(found)

    def _build(self, stack: list[object], depth: int) -> None:
        state = stack.pop()
        target = stack[-1]
        if not isinstance(target, Instance):
            return
        target.state = state
        made_by = target.made_by
        if isinstance(made_by, Global) and (made_by.module, made_by.name) == _WRAPPER:
            self.raw_arrays = True
            self._pass_over(target, depth)
        elif isinstance(made_by, Global) and made_by.name == "NDArrayWrapper":
            raise RejectedContent(
                f"{self.path} was written by joblib before 0.10, which kept arrays in separate files. Load it "
                "there and save it again with a present joblib, or as .skops.",
                field=self.path,
            )

    def _pass_over(self, wrapper: Instance, depth: int) -> None:
        """Move behind the data of an array that joblib wrote raw."""
        array = array_of(wrapper)
        if array is None:
            raise self._corrupt("an array in it has no shape or type")
        if array.family == "O":
            wrapper.items.append(self._load(depth + 1))
            return
        count = 1
        for length in array.shape:
            count *= length
        itemsize = item_size(attributes(wrapper).get("dtype"))
        if attributes(wrapper).get("numpy_array_alignment_bytes") is not None:
            self._stream.skip(self._stream.read(1)[0])
        self._stream.skip(count * itemsize)

    def _foreign(self, opcode: str) -> RejectedContent:
        if opcode in ("PERSID", "BINPERSID"):
            torch = any(path.startswith("torch") for path in self.globals)
            what = "a PyTorch checkpoint" if torch else "a pickle with parts outside of the file"
            return RejectedContent(
                f"{self.path} is {what}, not a scikit-learn model. Export the model to ONNX, or save its weights "
                "as safetensors in a transformers folder.",
                field=self.path,
            )
        return self._corrupt(f"it uses the opcode {opcode}, which needs the program that wrote it")

    def _corrupt(self, why: str) -> RejectedContent:
        return RejectedContent(
            f"{self.path} is not a whole pickle: {why}. Save it again with joblib.dump, or as .skops.",
            field=self.path,
        )


def item_size(dtype: object) -> int:
    """Bytes of one element of a pickled ``numpy.dtype``; raises ValueError when it does not say."""
    if not isinstance(dtype, Instance) or not dtype.arguments or not isinstance(dtype.arguments[0], str):
        raise ValueError("not a dtype")
    text = dtype.arguments[0].lstrip("<>|=")
    if isinstance(dtype.state, tuple) and len(dtype.state) > 5:
        declared = dtype.state[5]
        if isinstance(declared, int) and declared > 0:
            return declared
    size = int(text[1:] or 1)
    if size < 0:
        raise ValueError("not a dtype")
    return size * 4 if text[:1] == "U" else size


def array_of(value: object) -> Array | None:
    """The array that ``value`` describes (plain pickle or joblib), or None."""
    if isinstance(value, Array):
        return value
    if not isinstance(value, Instance) or not isinstance(value.made_by, Global):
        return None
    name, state = value.made_by.name, value.state
    if name == "NumpyArrayWrapper":
        held = attributes(value)
        inner = array_of(value.items[0]) if value.items else None
        return inner or _array(held.get("shape"), held.get("dtype"), None)
    if name == "_reconstruct" and isinstance(state, tuple) and len(state) == 5:
        return _array(state[1], state[2], state[4])
    if name == "_frombuffer" and len(value.arguments) >= 3:
        return _array(value.arguments[2], value.arguments[1], None)
    return None


def _array(shape: object, dtype: object, values: object) -> Array | None:
    if not isinstance(shape, tuple) or not isinstance(dtype, Instance) or not dtype.arguments:
        return None
    lengths = [length for length in shape if isinstance(length, int) and 0 <= length < MAX_LENGTH]
    text = dtype.arguments[0]
    if len(lengths) != len(shape) or len(shape) > 64 or not isinstance(text, str):
        return None
    text = text.lstrip("<>|=")
    return Array(tuple(lengths), text, values if isinstance(values, list) else None)


_PUSH = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING", "BINBYTES"}
    | {"SHORT_BINSTRING", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE"}
    | {"BINUNICODE", "BINUNICODE8", "FLOAT", "BINFLOAT"}
)
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
    "MARK": lambda: _MARK,
}
_IGNORED = frozenset({"PROTO", "FRAME", "READONLY_BUFFER"})


def _pop_mark(stack: list[object]) -> list[object]:
    """Everything above the last mark; the mark goes too."""
    taken: list[object] = []
    while (value := stack.pop()) is not _MARK:
        taken.append(value)
    taken.reverse()
    return taken


def _set_items(target: object, items: list[object]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(target, dict) and isinstance(key, str | int):
            target[key] = value


def _append(target: object, items: list[object]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Instance):
        target.items.extend(items)


def _apply(name: str, stack: list[object]) -> None:
    """The opcodes that only move values on the stack."""
    if name in _IGNORED:
        return
    if name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        if len(stack) < count:
            raise IndexError(name)
        stack[-count:] = [tuple(stack[-count:])]
    elif name == "TUPLE":
        stack.append(tuple(_pop_mark(stack)))
    elif name in ("LIST", "FROZENSET"):
        stack.append(_pop_mark(stack))
    elif name == "DICT":
        items = _pop_mark(stack)
        stack.append({})
        _set_items(stack[-1], items)
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        _set_items(stack[-1], [key, value])
    elif name == "SETITEMS":
        items = _pop_mark(stack)
        _set_items(stack[-1], items)
    elif name == "APPEND":
        value = stack.pop()
        _append(stack[-1], [value])
    elif name in ("APPENDS", "ADDITEMS"):
        items = _pop_mark(stack)
        _append(stack[-1], items)
    elif name == "POP":
        stack.pop()
    elif name == "POP_MARK":
        _pop_mark(stack)
    elif name == "DUP":
        stack.append(stack[-1])
    elif name in ("REDUCE", "NEWOBJ"):
        arguments, made_by = stack.pop(), stack.pop()
        stack.append(Instance(made_by, arguments if isinstance(arguments, tuple) else ()))
    elif name == "NEWOBJ_EX":
        _, arguments, made_by = stack.pop(), stack.pop(), stack.pop()
        stack.append(Instance(made_by, arguments if isinstance(arguments, tuple) else ()))
    elif name == "OBJ":
        items = _pop_mark(stack)
        stack.append(Instance(items[0], tuple(items[1:])))
    else:
        raise KeyError(name)
