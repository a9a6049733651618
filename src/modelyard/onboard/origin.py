"""What of the project an expression refers to: a function, a class, an object of a class."""

import ast
import re
from typing import NamedTuple

from modelyard.onboard.code import Code, Found
from modelyard.onboard.flow import Flow, Step

_MAKERS = re.compile(r"(from_|load|create|build|get_|init|open|make|new)")


class Origin(NamedTuple):
    """``dotted``: its name in the project; of an object, its class's (or the function's that made it)."""

    dotted: str
    object: bool = False


def origin(node: ast.expr, step: Step, flow: Flow, code: Code, depth: int = 0) -> Origin | None:
    """What ``node`` at ``step`` refers to; None when it is not of the project."""
    if depth > 12:
        return None
    if isinstance(node, ast.Name):
        return _of_name(node.id, step, flow, code, depth)
    if isinstance(node, ast.Attribute):
        base = origin(node.value, step, flow, code, depth + 1)
        return None if base is None else Origin(f"{base.dotted}.{node.attr}")
    if isinstance(node, ast.Call):
        called = origin(node.func, step, flow, code, depth + 1)
        return None if called is None else Origin(_made_by(called, code), True)
    if isinstance(node, ast.Subscript | ast.Await | ast.Starred):
        return origin(node.value, step, flow, code, depth + 1)
    return None


def _of_name(name: str, step: Step, flow: Flow, code: Code, depth: int) -> Origin | None:
    bound = step.known.get(name)
    if bound is None:
        return Origin(name) if name in code.packages else None
    at = flow.steps[bound]
    dotted = imported(at.node, name)
    if dotted is not None:
        return Origin(dotted) if dotted.partition(".")[0] in code.packages else None
    return None if at.value is None else origin(at.value, at, flow, code, depth + 1)


def imported(node: ast.stmt, name: str) -> str | None:
    """The dotted name that an import binds to ``name``."""
    if isinstance(node, ast.Import):
        for each in node.names:
            if (each.asname or each.name.partition(".")[0]) == name:
                return each.name if each.asname else name
    if isinstance(node, ast.ImportFrom):
        for each in node.names:
            if (each.asname or each.name) == name:
                return f"{node.module or ''}.{each.name}".lstrip(".")
    return None


def _made_by(called: Origin, code: Code) -> str:
    """The class of what a call gives, where that can be seen, else the name of what was called."""
    found = code.find(called.dotted)
    head, _, last = called.dotted.rpartition(".")
    if found is not None and isinstance(found.node, ast.FunctionDef):
        returned = found.node.returns
        if returned is not None:
            name = ast.unparse(returned).strip("'\"")
            if name.isidentifier() and code.find(f"{found.module}.{name}") is not None:
                return f"{found.module}.{name}"
        if _MAKERS.match(last) and head[:1] and head.rpartition(".")[2][:1].isupper():
            return head  # Class.from_pretrained(…)
    return called.dotted


def makes_object(called: Origin, code: Code) -> bool:
    """Whether calling it is likely to make a thing to work with, rather than to compute an answer."""
    found = code.find(called.dotted)
    if found is not None and isinstance(found.node, ast.ClassDef):
        return True
    last = called.dotted.rpartition(".")[2]
    return last[:1].isupper() or bool(_MAKERS.match(last))


def definition(called: Origin, code: Code) -> Found | None:
    """The function behind a call: of an object its ``__call__`` (or ``forward``), of a class its ``__init__``."""
    found = code.find(called.dotted)
    if found is None or not isinstance(found.node, ast.ClassDef):
        return found
    names = ("__call__", "forward") if called.object else ("__init__", "__new__")
    return next((each for name in names if (each := code.find(f"{called.dotted}.{name}"))), None)


class Parameter(NamedTuple):
    """Where an argument of a call goes: a parameter that must be given, or one that has ``default``."""

    required: bool
    default: ast.expr | None


def parameter(found: Found, argument: int | str) -> Parameter | None:
    """The parameter that takes the positional or named ``argument``; None when that cannot be told. What goes into
    ``**kwargs`` may be required by whatever takes it there."""
    if isinstance(found.node, ast.ClassDef):
        return None
    given = found.node.args
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    pairs = list(zip(positional, [*defaults, *given.defaults], strict=True))
    own = set(map(id, arguments_of(found)))
    pairs = [pair for pair in pairs if id(pair[0]) in own]
    if isinstance(argument, int):
        return Parameter(pairs[argument][1] is None, pairs[argument][1]) if argument < len(pairs) else None
    for each, default in [*pairs, *zip(given.kwonlyargs, given.kw_defaults, strict=True)]:
        if each.arg == argument:
            return Parameter(default is None, default)
    return Parameter(True, None) if given.kwarg is not None else None


def arguments_of(found: Found) -> list[ast.arg]:
    """Its parameters without ``self``."""
    if isinstance(found.node, ast.ClassDef):
        return []
    arguments = [*found.node.args.posonlyargs, *found.node.args.args]
    first = arguments[0].arg if arguments else ""
    return [*(arguments[1:] if first in ("self", "cls") else arguments), *found.node.args.kwonlyargs]
