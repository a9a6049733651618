"""Reads in the text of a TorchScript archive what ``forward`` takes and gives; nothing of it is compiled or run.

The text is what PyTorch's printer writes (torch/csrc/jit/serialization/python_print.cpp): Python's grammar in its headers,
which is all that is parsed here.
"""

import ast
import re
import warnings
from collections.abc import Mapping
from typing import Final, NamedTuple

from modelyard.analyze.objects import Global, Instance, Persistent

_LONGEST: Final = 64 * 1024  # characters of a header
_CLASS: Final = r"^class %s\((?:Module|NamedTuple)\):\n"
_BEGIN: Final = re.compile(r"^  def forward\(self: [\w.]+", re.MULTILINE)
_REST: Final = re.compile(r"(.*?)\) -> ([^\n]*):\n", re.DOTALL)
_NEXT: Final = re.compile(r"^class ", re.MULTILINE)
# Operators of PyTorch that reach for files, as the text calls them; others that do come with packages of their own.
_HARMFUL: Final = re.compile(rb"\b(save|from_file)\b")
_CLASSES: Final = re.compile(rb"\btorch\s*\.\s*classes\s*\.\s*(\w+)")
_FOREIGN: Final = re.compile(rb"\bops\s*\.\s*(\w+)")
_OWN: Final = frozenset(
    {b"prim", b"aten", b"quantized", b"prepacked", b"mkldnn", b"mkldnn_prepacked", b"xnnpack"}
)
_STORAGES: Final = {
    "FloatStorage": "FP32", "DoubleStorage": "FP64", "HalfStorage": "FP16", "BFloat16Storage": "BF16", "ByteStorage": "UINT8",
    "CharStorage": "INT8", "ShortStorage": "INT16", "IntStorage": "INT32", "LongStorage": "INT64", "BoolStorage": "BOOL",
}  # fmt: skip
_PLAIN: Final = (bool, int, float, str, type(None))


class Argument(NamedTuple):
    """One argument of ``forward``: its type as written, and its default where it has one."""

    name: str
    kind: str
    default: bool | int | float | str | None = None
    has_default: bool = False

    @property
    def is_tensor(self) -> bool:
        """Whether it takes a tensor, or may be left out where one could be."""
        return self.kind in ("Tensor", "Optional[Tensor]")


class Forward(NamedTuple):
    """``forward``: its arguments without ``self``, and the type that it gives as written."""

    arguments: tuple[Argument, ...]
    gives: str


class Traced(NamedTuple):
    """A tensor that the model was traced with: V2's data type and its shape."""

    datatype: str
    shape: tuple[int, ...]


def forward_of(text: str, name: str) -> Forward | None:
    """``forward`` of the class ``name``; None when the text does not say it in a way that is known."""
    begin = re.search(_CLASS % re.escape(name), text, re.MULTILINE)
    if begin is None:
        return None
    following = _NEXT.search(text, begin.end())
    start = _BEGIN.search(text, begin.end(), following.start() if following else len(text))
    header = start and _REST.match(text, start.end(), start.end() + _LONGEST)
    if header is None:
        return None
    try:
        return _parsed(header[1], header[2])
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def _parsed(arguments_text: str, gives: str) -> Forward | None:
    """Raises what ``ast`` raises of texts that it cannot read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no use in our log
        parsed = ast.parse(f"def forward(_{arguments_text}) -> {gives}: pass")
    if len(parsed.body) != 1 or not isinstance(function := parsed.body[0], ast.FunctionDef):
        return None
    told = function.args
    if told.vararg or told.kwarg or told.posonlyargs:
        return None
    given = [*told.args[1:], *told.kwonlyargs]
    before = len(told.args) - len(told.defaults)
    defaults: list[ast.expr | None] = [*[None] * before, *told.defaults][1:] + list(told.kw_defaults)
    arguments: list[Argument] = []
    for argument, default in zip(given, defaults, strict=True):
        kind = ast.unparse(argument.annotation) if argument.annotation else "Tensor"
        value = None if default is None else ast.literal_eval(default)
        if not isinstance(value, _PLAIN):
            return None
        arguments.append(Argument(argument.arg, kind, value, default is not None))
    return Forward(tuple(arguments), ast.unparse(function.returns) if function.returns else "Tensor")


def reaches_for(text: bytes) -> str:
    """What in the text reaches beyond computing, in a few words; empty when nothing does."""
    if found := _HARMFUL.search(text):
        return f"{found[1].decode()!r}, which is the name of an operator on files"
    for namespace in (*_FOREIGN.findall(text), *_CLASSES.findall(text)):
        if namespace not in _OWN:
            return f"operators of {namespace[:60].decode('ascii', 'replace')!r}, which PyTorch alone does not have"
    return ""


def traced(root: object) -> tuple[Traced, ...] | None:
    """The tensors of ``traced_inputs.pkl`` for ``forward``, by its described objects; None when they are others."""
    methods = _untagged(root)
    given = _untagged(methods.get("forward")) if isinstance(methods, Mapping) else None
    if not isinstance(given, list | tuple) or not given:
        return None
    found = [_tensor(each) for each in given]
    tensors = tuple(each for each in found if each is not None)
    return tensors if len(tensors) == len(found) else None


_PRECISIONS = {
    "FP64": "float64", "FP32": "float32", "FP16": "float16", "BF16": "bfloat16", "INT64": "int64", "INT32": "int32", "INT16": "int16",
    "INT8": "int8", "UINT8": "uint8", "BOOL": "bool",
}  # fmt: skip


def _untagged(value: object) -> object:
    """Without the type that PyTorch's pickler puts around containers."""
    if (
        isinstance(value, Instance)
        and isinstance(value.made_by, Global)
        and value.made_by.name == "restore_type_tag"
    ):
        return value.arguments[0] if value.arguments else None
    return value


def _tensor(value: object) -> Traced | None:
    if not isinstance(value, Instance) or not isinstance(value.made_by, Global) or len(value.arguments) < 3:
        return None
    storage, _, shape = value.arguments[:3]
    if value.made_by.path != "torch._utils._rebuild_tensor_v2" or not isinstance(storage, Persistent):
        return None
    place = storage.name
    if (
        not isinstance(place, tuple)
        or len(place) < 2
        or not isinstance(place[1], Global)
        or not isinstance(shape, tuple)
    ):
        return None
    lengths = tuple(length for length in shape if isinstance(length, int) and 0 <= length < 1 << 31)
    datatype = _STORAGES.get(place[1].name)
    return Traced(datatype, lengths) if datatype and len(lengths) == len(shape) <= 32 else None


class Storages(NamedTuple):
    """What the tensors of a module are kept in: how many numbers by type, and whether some lie on a CUDA device."""

    precisions: dict[str, int]
    cuda: bool


def storages(root: object) -> Storages:
    """Those that the described object ``root`` refers to, each counted once."""
    precisions: dict[str, int] = {}
    cuda = False
    counted: set[object] = set()
    seen: set[int] = set()
    left: list[object] = [root]
    while left:
        value = left.pop()
        if isinstance(value, Persistent):
            place = value.name
            if not isinstance(place, tuple) or len(place) < 5 or not isinstance(place[1], Global):
                continue
            kind, key, device, count = place[1].name, place[2], place[3], place[4]
            if (
                not isinstance(key, str)
                or key in counted
                or not isinstance(count, int)
                or not 0 <= count < 1 << 48
            ):
                continue
            counted.add(key)
            cuda = cuda or (isinstance(device, str) and device.startswith("cuda"))
            name = _PRECISIONS.get(_STORAGES.get(kind, ""), kind.removesuffix("Storage").lower()[:40])
            precisions[name] = precisions.get(name, 0) + count
        elif isinstance(value, Instance | list | tuple | dict):
            if id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, Instance):
                left += [value.arguments, value.state, value.items]
            elif isinstance(value, dict):
                left += [*value.keys(), *value.values()]
            else:
                left += value
    return Storages(precisions, cuda)
