"""Which parts of a call are its data: the literals and names that another call would have other values for."""

import ast
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from modelyard.onboard.code import Code, dotted_of
from modelyard.onboard.flow import BUILT_INS, COMMON_IMPORTS, Flow, Step, is_literal
from modelyard.onboard.origin import makes_object, origin
from modelyard.onboard.usage import suffix_of

Kind = Literal["value", "file", "array", "unknown"]

_ARRAYS = re.compile(
    r"(np|numpy|torch)\.(random\.)?(rand|randn|random|normal|uniform|zeros|ones|empty|randint|standard_normal|full)"
)


class Leaf(NamedTuple):
    """``node`` at ``step`` is what is replaced; ``value`` its literal, where it has one; ``name`` what the
    example calls it; ``argument`` the place of the call's argument that it is a part of: a number or a name."""

    kind: Kind
    node: ast.expr
    step: int
    name: str | None = None
    value: ast.expr | None = None
    argument: int | str | None = None


class Leaves:
    """Of one call."""

    def __init__(self, flow: Flow, code: Code) -> None:
        self._flow = flow
        self._code = code

    def of_call(self, call: ast.Call, step: Step) -> tuple[list[Leaf], int]:
        """The data of ``call``, and how far it had to be looked for: 0 in its arguments; 1 in what its
        arguments were made of; 2 in the object that it is called on."""
        for tier in (0, 1):
            found: list[Leaf] = []
            for index, argument in enumerate(call.args):
                found += [each._replace(argument=index) for each in self._of(argument, step, tier)]
            for keyword in call.keywords:
                if keyword.arg is not None:
                    found += [
                        each._replace(argument=keyword.arg) for each in self._of(keyword.value, step, tier)
                    ]
            if found and not all(map(_is_small, found)):
                return found, tier
            if found:
                # Only settings: the data may be in the object, as in Document("a text").keywords(5).
                data = [each for each in self._of_receiver(call, step) if _is_data(each)]
                return [*data, *found] if len(data) == 1 else found, tier
        return self._of_receiver(call, step), 2

    def _of_receiver(self, call: ast.Call, step: Step) -> list[Leaf]:
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        return [] if receiver is None else list(self._of(receiver, step, 1))

    def _of(self, node: ast.expr, step: Step, tier: int, depth: int = 0) -> Iterator[Leaf]:
        if depth > 12:
            return
        if is_literal(node):
            if not (isinstance(node, ast.Constant) and (node.value is None or node.value is ...)):
                yield Leaf(_kind(node), node, step.number, None, node)
        elif isinstance(node, ast.Name):
            yield from self._of_name(node, step, tier, depth)
        elif isinstance(node, ast.List | ast.Tuple | ast.Set):
            for each in node.elts:
                yield from self._of(each, step, tier, depth + 1)
        elif isinstance(node, ast.Dict):
            for each in node.values:
                yield from self._of(each, step, tier, depth + 1)
        elif isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
            if not (isinstance(node, ast.Attribute) and dotted_of(node) and self._is_module(node, step)):
                yield from self._of(node.value, step, tier, depth + 1)
        elif isinstance(node, ast.BinOp):
            yield from self._of(node.left, step, tier, depth + 1)
            yield from self._of(node.right, step, tier, depth + 1)
        elif isinstance(node, ast.Call):
            yield from self._of_inner_call(node, step, tier, depth)

    def _of_name(self, node: ast.Name, step: Step, tier: int, depth: int) -> Iterator[Leaf]:
        bound = step.known.get(node.id)
        if bound is None:
            if not (node.id in self._code.packages or node.id in BUILT_INS or node.id in COMMON_IMPORTS):
                yield Leaf("unknown", node, step.number, node.id)
            return
        literal = self._flow.literal(node.id, step)
        if literal is not None:
            if not (isinstance(literal, ast.Constant) and literal.value is None):
                yield Leaf(_kind(literal), node, step.number, node.id, literal)
            return
        at = self._flow.steps[bound]
        if at.value is None or isinstance(at.node, ast.AugAssign):
            return
        if isinstance(at.value, ast.Call) and self._is_array(at.value):
            yield Leaf("array", node, step.number, node.id, at.value)
            return
        yield from self._of(at.value, at, tier, depth + 1)

    def _of_inner_call(self, node: ast.Call, step: Step, tier: int, depth: int) -> Iterator[Leaf]:
        if self._is_array(node):
            yield Leaf("array", node, step.number, None, node)
            return
        called = origin(node.func, step, self._flow, self._code)
        if called is not None and tier == 0 and makes_object(called, self._code):
            return
        # Of further arguments nobody knows whether they are data or settings; the first is what is read.
        for argument in (node.args or [each.value for each in node.keywords])[:1]:
            yield from self._of(argument, step, tier, depth + 1)
        if isinstance(node.func, ast.Attribute) and (called is None or tier):
            yield from self._of(node.func.value, step, tier, depth + 1)

    def _is_module(self, node: ast.Attribute, step: Step) -> bool:
        root = (dotted_of(node) or "").partition(".")[0]
        bound = step.known.get(root)
        return bound is None or isinstance(self._flow.steps[bound].node, ast.Import | ast.ImportFrom)

    @staticmethod
    def _is_array(node: ast.Call) -> bool:
        dotted = dotted_of(node.func) or ""
        return bool(_ARRAYS.fullmatch(dotted)) and shape_of(node) is not None


def shape_of(node: ast.Call) -> tuple[int, ...] | None:
    """The shape that ``np.zeros((1, 3))``, ``torch.randn(1, 3)`` and their like ask for."""
    values: list[object] = []
    for each in node.args:
        if not is_literal(each):
            return None
        values.append(ast.literal_eval(each))
    name = (dotted_of(node.func) or "").rpartition(".")[2]
    for keyword in node.keywords:
        if keyword.arg in ("size", "shape") and is_literal(keyword.value):
            values = [ast.literal_eval(keyword.value)]
            name = ""
    if name in ("randint", "normal", "uniform", "full") and values:
        values = values[-1:] if name != "full" else values[:1]
    if len(values) == 1 and isinstance(values[0], tuple | list):
        values = list(values[0])
    sizes = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return tuple(sizes) if sizes and len(sizes) == len(values) else None


def _is_small(leaf: Leaf) -> bool:
    """Whether it is a number or a switch."""
    return isinstance(leaf.value, ast.Constant) and isinstance(leaf.value.value, bool | int | float)


def _is_data(leaf: Leaf) -> bool:
    """Whether it is a text that is more than a name."""
    text = leaf.value.value if isinstance(leaf.value, ast.Constant) else None
    if not isinstance(text, str) or leaf.kind != "value":
        return False
    return (
        " " in text.strip() or not text.isascii() or (text.isalpha() and text.isupper() and len(text) > 5)
    )


def _kind(node: ast.expr) -> Kind:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and suffix_of(node.value):
        return "file"
    return "value"
