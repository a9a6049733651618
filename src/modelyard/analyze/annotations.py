"""From a Python annotation, as syntax, to the input that it stands for."""

import ast
from typing import NamedTuple

from modelyard.core.signature import Kind

_SCALARS: dict[str, tuple[str, Kind]] = {
    "str": ("BYTES", "text"),
    "bytes": ("BYTES", "bytes"),
    "int": ("INT64", "tensor"),
    "float": ("FP64", "tensor"),
    "bool": ("BOOL", "tensor"),
}
_LISTS = frozenset({"list", "List", "Sequence"})


class InputType(NamedTuple):
    """Data type, shape of one record (-1: any length) and kind of an input."""

    datatype: str
    shape: tuple[int, ...]
    kind: Kind


JSON = InputType("BYTES", (), "json")


def input_type(annotation: ast.expr | None) -> InputType:
    """What ``annotation`` asks for; whatever is not a number, text or list of them is JSON."""
    return _read(annotation, 0)


def _read(node: ast.expr | None, depth: int) -> InputType:
    if node is None or depth > 16:
        return JSON
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _quoted(node.value, depth)
    name = _name(node)
    if name in _SCALARS:
        datatype, kind = _SCALARS[name]
        return InputType(datatype, (), kind)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([node.left, node.right], depth)
    if not isinstance(node, ast.Subscript):
        return JSON
    outer = _name(node.value)
    inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if outer in _LISTS and len(inside) == 1:
        return _list_of(_read(inside[0], depth + 1))
    if outer in ("Optional", "Union"):
        return _union(inside, depth)
    if outer == "Annotated":
        return _read(inside[0], depth + 1)
    if outer == "Literal":
        return _literal(inside)
    return JSON


def _quoted(text: str, depth: int) -> InputType:
    try:
        return _read(ast.parse(text.strip(), mode="eval").body, depth + 1)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return JSON


def _union(members: list[ast.expr], depth: int) -> InputType:
    """``X | None`` is X; a union of several types is JSON."""
    real = [
        member
        for member in members
        if not (isinstance(member, ast.Constant) and member.value is None) and _name(member) != "None"
    ]
    return _read(real[0], depth + 1) if len(real) == 1 else JSON


def _list_of(inner: InputType) -> InputType:
    if inner.kind == "json" or len(inner.shape) > 6:
        return JSON
    return InputType(inner.datatype, (-1, *inner.shape), inner.kind)


def _literal(values: list[ast.expr]) -> InputType:
    """The common type of the values of a Literal."""
    kinds = {type(value.value) if isinstance(value, ast.Constant) else object for value in values}
    kinds.discard(type(None))
    only = kinds.pop() if len(kinds) == 1 else object
    if only.__name__ not in _SCALARS:
        return JSON
    datatype, kind = _SCALARS[only.__name__]
    return InputType(datatype, (), kind)


def _name(node: ast.expr) -> str:
    """``float`` of ``float``, ``List`` of ``typing.List``; only modules of typing are looked through."""
    if isinstance(node, ast.Name):
        return node.id
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("typing", "t", "abc", "typing_extensions")
    ):
        return node.attr
    return ""
