"""What an example shows of an answer: the answer itself, or the attributes that it prints of it."""

import ast

from modelyard.onboard.code import dotted_of
from modelyard.onboard.flow import Flow, Step, bound_by, loaded


def targets_of(step: Step) -> list[str]:
    """The names that the step's value gets."""
    return bound_by(step.node) if isinstance(step.node, ast.Assign | ast.AnnAssign) else []


def is_shown(step: Step, flow: Flow) -> bool:
    """Whether the example shows what the step computes."""
    if step.shown:
        return True
    names = set(targets_of(step))
    return any(
        later.shown and later.value is not None and names & set(loaded(later.value))
        for later in flow.steps[step.number + 1 :]
        if all(later.known.get(name) == step.number for name in names)
    )


def presented(step: Step, flow: Flow) -> tuple[ast.expr, bool]:
    """What a call answers: the value of the call's statement; or, when the example shows attributes of
    it, these, because an object itself has no form that can be sent."""
    value = step.value
    assert value is not None
    if step.loop is not None and (parts := _of_loop(step.loop)):
        return parts, True
    names = targets_of(step)
    if not names:
        return value, isinstance(value, ast.Attribute)
    shown: dict[str, ast.expr] = {}
    for later in flow.steps[step.number + 1 :]:
        if (
            later.value is None
            or not later.shown
            or any(later.known.get(name) != step.number for name in names)
        ):
            continue
        read = set(loaded(later.value))
        if not read & set(names) or any(
            later.known.get(name, -1) > step.number for name in read - set(names)
        ):
            continue
        if later.loop is not None:
            found = _of_loop(later.loop)
            if found is not None:
                return found, True
        elif _reads_attribute(later.value, names):
            shown.setdefault(_called(later.value), later.value)
        elif isinstance(later.value, ast.Name):
            return later.value, False
    if shown:
        return _as_one(shown), True
    if isinstance(step.node, ast.Assign) and isinstance(step.node.targets[0], ast.Tuple):
        return _as_one({name: ast.Name(name, ast.Load()) for name in names}), False
    return ast.Name(names[-1], ast.Load()), False


def _of_loop(loop: ast.For) -> ast.expr | None:
    """``[{"text": each.text, …} for each in result]`` of a loop whose body prints attributes of each."""
    own = {name.id for name in ast.walk(loop.target) if isinstance(name, ast.Name)}
    shown: dict[str, ast.expr] = {}
    for call in (each for node in loop.body for each in ast.walk(node)):
        if isinstance(call, ast.Call) and dotted_of(call.func) in ("print", "pprint"):
            for part in ast.walk(call):
                if not isinstance(part, ast.Attribute) or not isinstance(part.value, ast.Name):
                    continue
                if part.value.id in own and not _is_called(part, call):
                    shown.setdefault(part.attr, part)
    if not shown:
        return None
    generator = ast.comprehension(loop.target, loop.iter, [], 0)
    return ast.ListComp(_as_one(shown, single=False), [generator])


def _is_called(part: ast.AST, within: ast.AST) -> bool:
    return any(isinstance(each, ast.Call) and each.func is part for each in ast.walk(within))


def _as_one(shown: dict[str, ast.expr], *, single: bool = True) -> ast.expr:
    if len(shown) == 1 and single:
        return next(iter(shown.values()))
    return ast.Dict([ast.Constant(name) for name in shown], list(shown.values()))


def _reads_attribute(node: ast.expr, names: list[str]) -> bool:
    """``result.text`` or ``result.text.words``: of the answer itself, not of one of its elements."""
    if not isinstance(node, ast.Attribute):
        return False
    inner = node.value
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return isinstance(inner, ast.Name) and inner.id in names


def _called(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else "output"
