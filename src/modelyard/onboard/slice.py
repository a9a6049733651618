"""A slice: the statements of an example that one of its calls needs, and which of these depend on its inputs."""

import ast

from modelyard.onboard.code import Code, dotted_of
from modelyard.onboard.flow import BUILT_INS, Flow, Step, bound_by, is_literal, loaded
from modelyard.onboard.origin import origin
from modelyard.onboard.usage import is_answer

# Functions of a project that its others need to have been called.
_SETS_UP = frozenset({"load", "init", "initialize", "setup", "set_up", "prepare", "warmup", "warm_up"})


class Slice:
    """Of the call in ``step``. ``swaps`` has what takes the place of a node (by its id), ``given`` of a name; ``unnamed``
    are names that nothing binds."""

    def __init__(self, flow: Flow, code: Code, step: Step) -> None:
        self.swaps: dict[int, ast.expr] = {}
        self.given: dict[str, ast.expr] = {}
        self.unnamed: list[str] = []
        self._flow = flow
        self._code = code
        self._step = step

    def depends(self, node: ast.AST, index: int) -> None:
        """Note names of ``node`` that nothing binds, as what it would need."""
        known = self._flow.steps[index].known
        for name in loaded(node):
            if name not in known:
                self.unnamed.append(name)

    def steps_of(self, expression: ast.expr, step: Step) -> set[int]:
        """The steps that ``expression`` needs; not those that an input replaces."""
        found: set[int] = set()
        todo: list[tuple[ast.AST, Step]] = [(expression, step)]
        if (
            step.value is not None
            and isinstance(step.node, ast.Assign | ast.AnnAssign)
            and expression is not step.value
        ):
            todo.append((step.value, step))
            found.add(step.number)
        while todo:
            node, at = todo.pop()
            known = at.known if node is not expression or expression is step.value else {**at.known, **dict.fromkeys(bound_by(step.node), step.number)}  # fmt: skip
            for name in loaded(node, self.swaps):
                bound = known.get(name)
                if name in self.given:
                    continue
                if bound is None:
                    self.unnamed.append(name)
                elif bound not in found:
                    found.add(bound)
                    there = self._flow.steps[bound]
                    todo.append((there.node, there))
        return found

    def is_data(self, index: int) -> bool:
        """Whether a step depends on an input."""
        step = self._flow.steps[index]
        if isinstance(step.node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            return False
        if index == self._step.number:
            return True
        if any(id(node) in self.swaps for node in ast.walk(step.node)) or self.given.keys() & set(
            loaded(step.node)
        ):
            return True
        return any(
            self.is_data(bound) for name in loaded(step.node, self.swaps) if (bound := step.known.get(name)) is not None and bound != index
        )  # fmt: skip

    def mutators(self, once: list[int]) -> set[int]:
        """Statements between that set up what is used: ``model.eval()``, ``checker.load(path)``, or the project
        itself: ``load()``."""
        found: set[int] = set()
        names = {name for i in once for name in bound_by(self._flow.steps[i].node)}
        for step in self._flow.steps[: self._step.number]:
            if (
                not isinstance(step.node, ast.Expr)
                or step.shown
                or not isinstance(step.node.value, ast.Call)
            ):
                continue
            function = step.node.value.func
            if self._sets_up(step.node.value, step):
                found |= {step.number, *self.steps_of(step.node.value, step)}
                continue
            root = (dotted_of(function) or "").partition(".")[0]
            if not isinstance(function, ast.Attribute) or root not in names or is_answer(function.attr):
                continue
            bound = step.known.get(root)
            if bound is None or isinstance(self._flow.steps[bound].node, ast.Import | ast.ImportFrom):
                continue
            if all(name in step.known or name in BUILT_INS for name in loaded(step.node)):
                found.add(step.number)
                found |= {i for i in self.steps_of(step.node.value, step) if not self.is_data(i)}
        return found

    def _sets_up(self, call: ast.Call, step: Step) -> bool:
        """Whether it is a function of the project that its others need to have been called, by its name."""
        name = dotted_of(call.func) or ""
        bound = step.known.get(name.partition(".")[0])
        if bound is None or not isinstance(self._flow.steps[bound].node, ast.Import | ast.ImportFrom):
            return False
        maker = origin(call.func, step, self._flow, self._code)
        values = [*call.args, *(each.value for each in call.keywords)]
        return (
            maker is not None
            and maker.dotted.rpartition(".")[2] in _SETS_UP
            and all(map(is_literal, values))
        )
