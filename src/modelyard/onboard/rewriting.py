"""Statements of an example written down again, with inputs in place of what they were given."""

import ast
from collections.abc import Callable
from typing import Any

from modelyard.onboard.code import dotted_of
from modelyard.onboard.slice import Slice


class Rewriting:
    """Of the statements of a slice. ``files`` are those of the project that they read at the start."""

    def __init__(self, slice: Slice, exists: Callable[[str], bool]) -> None:
        self.files: list[str] = []
        self._slice = slice
        self._exists = exists

    def source(self, node: ast.AST, kept: set[str], *, setup: bool = False) -> str:
        """A statement or an expression, with ``self.name`` for the names ``kept``. ``setup``: it is done once, before there
        are inputs, and reads files of the project's folder."""
        return ast.unparse(ast.fix_missing_locations(self._rewritten(node, kept, setup)))

    def _rewritten(self, node: Any, kept: set[str], setup: bool) -> Any:
        """A copy with inputs in place of the literals, and ``self.name`` for what load() makes."""
        if id(node) in self._slice.swaps and not setup:
            return self._slice.swaps[id(node)]
        if isinstance(node, ast.Name) and node.id in self._slice.given and not setup:
            return self._slice.given[node.id]
        if isinstance(node, ast.Name) and node.id in kept:
            return ast.Attribute(ast.Name("self", ast.Load()), node.id)
        if setup and isinstance(node, ast.Constant) and isinstance(node.value, str):
            path = node.value.removeprefix("./")
            if "." in path and self._exists(path):
                self.files.append(path)
                return ast.parse(f"str(folder / {path!r})", mode="eval").body
        if (opened := _read_at_once(node)) is not None:
            path, mode = opened
            self._slice.unnamed.append("Path")
            reads = "read_bytes" if "b" in mode else "read_text"
            return ast.parse(
                f"Path({ast.unparse(self._rewritten(path, kept, setup))}).{reads}()", mode="eval"
            ).body
        if isinstance(node, ast.AST):
            return type(node)(
                **{name: self._rewritten(value, kept, setup) for name, value in ast.iter_fields(node)}
            )
        if isinstance(node, list):
            return [self._rewritten(each, kept, setup) for each in node]  # pyright: ignore[reportUnknownVariableType]
        return node


def _read_at_once(node: Any) -> tuple[ast.expr, str] | None:
    """Path and mode of ``open(path, mode).read()``."""
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "read"
    ):
        return None
    opened = node.func.value
    if node.args or not (isinstance(opened, ast.Call) and dotted_of(opened.func) == "open" and opened.args):
        return None
    mode = ast.unparse(opened.args[1]) if len(opened.args) > 1 else ""
    return opened.args[0], mode
