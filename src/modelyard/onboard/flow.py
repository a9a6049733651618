"""Statements of an example in the order in which they run, each with what its names stand for.

Loops are entered once, with their first element; what is printed or asserted counts as *shown*.
"""

import ast
import builtins
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from modelyard.onboard.code import Code, dotted_of
from modelyard.onboard.snippets import Piece

BUILT_INS = frozenset(dir(builtins))
# What examples call these without saying so.
COMMON_IMPORTS = {
    "np": "import numpy as np", "numpy": "import numpy", "pd": "import pandas as pd", "torch": "import torch",
    "Image": "from PIL import Image", "cv2": "import cv2", "os": "import os", "json": "import json", "sf": "import soundfile as sf",
    "Path": "from pathlib import Path", "re": "import re", "librosa": "import librosa", "tf": "import tensorflow as tf",
}  # fmt: skip
_PRINTS = frozenset({"print", "pprint", "pprint.pprint", "display", "rich.print", "pp", "print_json"})
_NOISE = frozenset(
    {"len", "type", "str", "repr", "list", "sorted", "dict", "tuple", "set", "round", "json.dumps"}
)


class Step(NamedTuple):
    """A statement without a block. ``known``: names, and the step that bound each before this one.
    ``loop``: it is what a ``for`` runs over, whose body shows what each element holds."""

    number: int
    node: ast.stmt
    line: int
    shown: bool
    known: dict[str, int]
    loop: ast.For | None = None

    @property
    def value(self) -> ast.expr | None:
        """The expression that it computes."""
        if isinstance(self.node, ast.Assign | ast.AnnAssign | ast.Expr | ast.AugAssign):
            return self.node.value
        return None


class Flow:
    """The steps of one document."""

    def __init__(self, pieces: Iterable[Piece], code: Code) -> None:
        pieces = list(pieces)
        self.steps: list[Step] = []
        self._code = code
        self._known: dict[str, int] = {}
        self._used = {
            node.id for piece in pieces for node in ast.walk(piece.node) if isinstance(node, ast.Name)
        }
        for piece in pieces:
            self._visit(piece.node, piece.line, piece.shown)

    def literal(self, name: str, step: Step) -> ast.expr | None:
        """The literal that ``name`` stands for at ``step``, or None."""
        bound = step.known.get(name)
        return None if bound is None else self._literal_at(bound)

    def _literal_at(self, index: int) -> ast.expr | None:
        node = self.steps[index].node
        simple = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if not isinstance(node, ast.AnnAssign) and not simple:
            return None
        value = self.steps[index].value
        return value if value is not None and is_literal(value) else None

    def _add(self, node: ast.stmt, line: int, *, shown: bool = False, loop: ast.For | None = None) -> None:
        self.steps.append(Step(len(self.steps), node, line, shown, dict(self._known), loop))
        for name in bound_by(node):
            self._known[name] = len(self.steps) - 1

    def _visit(self, node: ast.stmt, line: int, shown: bool) -> None:
        if isinstance(node, ast.ImportFrom) and any(each.name == "*" for each in node.names):
            found = [name for name in sorted(self._used) if self._code.find(f"{node.module}.{name}")]
            if found:
                self._add(ast.ImportFrom(node.module, [ast.alias(name) for name in found], 0), line)
        elif isinstance(node, ast.ImportFrom) and node.module == "__future__":
            pass
        elif isinstance(
            node, ast.Assign | ast.AugAssign | ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
        ) or (isinstance(node, ast.AnnAssign) and node.value is not None):
            self._add(node, line, shown=shown)
        elif isinstance(node, ast.Expr):
            self._expression(node, line, shown)
        elif isinstance(node, ast.Assert):
            test = node.test.left if isinstance(node.test, ast.Compare) else node.test
            for each in _inside(test):
                self._add(ast.Expr(each), line, shown=True)
        elif isinstance(node, ast.For):
            self._for(node, line)
        elif isinstance(node, ast.With):
            for item in node.items:
                if isinstance(item.optional_vars, ast.Name):
                    self._add(ast.Assign([item.optional_vars], item.context_expr), line)
            self._body(node.body, line)
        elif isinstance(node, ast.If | ast.Try):
            self._body(node.body, line)

    def _body(self, body: list[ast.stmt], line: int) -> None:
        for node in body:
            self._visit(node, line, False)

    def _expression(self, node: ast.Expr, line: int, shown: bool) -> None:
        if isinstance(node.value, ast.Call) and dotted_of(node.value.func) in _PRINTS:
            for argument in node.value.args:
                for each in _inside(argument):
                    self._add(ast.Expr(each), line, shown=True)
        elif isinstance(node.value, ast.Constant):
            pass  # a text that is a comment
        else:
            self._add(node, line, shown=shown)

    def _for(self, node: ast.For, line: int) -> None:
        iterated = node.iter
        target = node.target
        if isinstance(iterated, ast.Call) and dotted_of(iterated.func) in (
            "enumerate",
            "tqdm",
            "tqdm.tqdm",
        ):
            if (
                isinstance(target, ast.Tuple)
                and len(target.elts) == 2
                and dotted_of(iterated.func) == "enumerate"
            ):
                target = target.elts[1]
            iterated = iterated.args[0] if iterated.args else iterated
        literal = iterated
        if isinstance(iterated, ast.Name) and iterated.id in self._known:
            literal = self._literal_at(self._known[iterated.id]) or iterated
        if isinstance(literal, ast.List | ast.Tuple) and literal.elts and isinstance(target, ast.Name):
            self._add(ast.Assign([target], literal.elts[0]), line)
            self._body(node.body, line)
        elif isinstance(iterated, ast.Name | ast.Call | ast.Attribute):
            loop = ast.For(target, iterated, node.body, [])
            self._add(ast.Expr(iterated), line, shown=True, loop=loop)


def bound_by(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.Import):
        return [each.asname or each.name.partition(".")[0] for each in node.names]
    if isinstance(node, ast.ImportFrom):
        return [each.asname or each.name for each in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    return [
        each.id for target in targets for each in ast.walk(target)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store | ast.Load) and not _within(each, target)
    ]  # fmt: skip


def _within(name: ast.Name, target: ast.expr) -> bool:
    """Whether ``name`` is only a part of the place that is written to (``name[0] = …``, ``name.x = …``)."""
    return isinstance(target, ast.Subscript | ast.Attribute)


def loaded(node: ast.AST, swaps: "dict[int, ast.expr] | None" = None) -> list[str]:
    """Names that are read and are not of its own making (a comprehension's, a function's parameters)."""
    found: list[str] = []
    own: set[str] = set()

    def walk(each: ast.AST) -> None:
        if swaps is not None and id(each) in swaps:
            return
        if isinstance(each, ast.arg):
            own.add(each.arg)
        if isinstance(each, ast.comprehension):
            own.update(name.id for name in ast.walk(each.target) if isinstance(name, ast.Name))
        if isinstance(each, ast.FunctionDef):
            own.update(
                n.id for n in ast.walk(each) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            )
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
            found.append(each.id)
        for child in ast.iter_child_nodes(each):
            walk(child)

    walk(node)
    return [name for name in dict.fromkeys(found) if name not in own and name not in BUILT_INS]


def is_literal(node: ast.expr) -> bool:
    """Whether it is a value written out."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _inside(node: ast.expr) -> Iterator[ast.expr]:
    """What of a printed or asserted expression is of interest: not the words around it."""
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _inside(part.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format" and isinstance(node.func.value, ast.Constant):  # fmt: skip
        for part in node.args:
            yield from _inside(part)
    elif isinstance(node, ast.Call) and dotted_of(node.func) in _NOISE and node.args:
        yield from _inside(node.args[0])
    elif isinstance(node, ast.BinOp):
        yield from _inside(node.left)
        yield from _inside(node.right)
    elif isinstance(node, ast.UnaryOp):
        yield from _inside(node.operand)
    elif not isinstance(node, ast.Constant | ast.Starred):
        yield node
