"""From an example to the usages in it: the call that it is about, the statements that this needs (its slice), and
of these the ones that depend on the data of the call.
"""

import ast
import keyword
import re
from collections.abc import Callable, Iterator
from typing import Any

from modelyard.onboard.code import Code, dotted_of
from modelyard.onboard.flow import BUILT_INS, COMMON_IMPORTS, Flow, Step, bound_by, is_literal, loaded
from modelyard.onboard.leaves import Leaf, Leaves, shape_of
from modelyard.onboard.literals import (
    annotation_of,
    as_json,
    guessed,
    is_path_of_file,
    is_placeholder,
    is_setting,
    numbers,
)
from modelyard.onboard.origin import (
    Origin,
    Parameter,
    arguments_of,
    definition,
    makes_object,
    origin,
    parameter,
)
from modelyard.onboard.shown import is_shown, presented
from modelyard.onboard.usage import MISSING, Input, Usage, is_answer, suffix_of, words_of

# Functions of a project that its others need to have been called.
_SETS_UP = frozenset({"load", "init", "initialize", "setup", "set_up", "prepare", "warmup", "warm_up"})
_STEMS = re.compile(r"_?(path|file|filename|fname|fn|filepath)$")


class Builder:
    """Makes usages of the steps of one document."""

    def __init__(self, flow: Flow, code: Code, path: str, rank: int, exists: Callable[[str], bool]) -> None:
        self._flow = flow
        self._code = code
        self._path = path
        self._rank = rank
        self._exists = exists
        self._leaves = Leaves(flow, code)

    def usages(self) -> Iterator[Usage]:
        """One for each call of the project that is given data."""
        for step in self._flow.steps:
            if step.value is None:
                continue
            for call in _outermost(step.value, lambda each, at=step: self._is_ours(each, at)):
                leaves, tier = self._leaves.of_call(call, step)
                if leaves:
                    usage = _Writer(self, step, call, leaves, tier).usage()
                    if usage is not None:
                        yield usage

    def _is_ours(self, call: ast.Call, step: Step) -> bool:
        called = origin(call.func, step, self._flow, self._code)
        return called is not None and "." in called.dotted + ("." if called.object else "")


class _Writer:
    def __init__(self, builder: Builder, step: Step, call: ast.Call, leaves: list[Leaf], tier: int) -> None:
        self._builder = builder
        self._flow = builder._flow
        self._code = builder._code
        self._exists = builder._exists
        self._step = step
        self._call = call
        self._tier = tier
        found = origin(call.func, step, self._flow, self._code)
        assert found is not None  # Builder asked
        self._called: Origin = found
        self._definition = definition(found, self._code)
        self._swaps: dict[int, ast.expr] = {}
        self._taken: set[str] = {"self", "folder", "Model", "predict", "load"}
        self._unnamed: list[str] = []
        self._files: list[str] = []
        self._inputs: list[Input] = []
        self._given: dict[str, ast.expr] = {}  # names that stand for inputs, and what takes their place
        for leaf in leaves:
            self._input(leaf, len(leaves))

    def usage(self) -> Usage | None:
        expression, shows_parts = presented(self._step, self._flow)
        needed = self._slice(expression, self._step)
        hoisted = self._hoisted(needed)
        data = [index for index in sorted(needed) if self._is_data(index)]
        once = [index for index in sorted(needed) if index not in data]
        once = sorted({*once, *self._mutators(once)})
        definitions = [
            i for i in once if isinstance(self._flow.steps[i].node, ast.FunctionDef | ast.ClassDef)
        ]
        imports = [i for i in once if isinstance(self._flow.steps[i].node, ast.Import | ast.ImportFrom)]
        setup = [i for i in once if i not in definitions and i not in imports]
        if any(isinstance(self._flow.steps[i].node, ast.AugAssign) for i in data):
            return None
        kept = {name for i in setup for name in bound_by(self._flow.steps[i].node)}
        for index in definitions:  # a function that uses what load() makes cannot stand above it
            if kept & {
                each.id for each in ast.walk(self._flow.steps[index].node) if isinstance(each, ast.Name)
            }:
                return None
        lines = [self._imported(i, [*setup, *data, *definitions], expression) for i in imports]
        once_lines = (*(self._source(self._flow.steps[i], kept, setup=True) for i in setup), *hoisted(kept))
        body = tuple(self._source(self._flow.steps[i], kept) for i in data)
        result = self._expression_source(expression, self._step, kept)
        extra = [COMMON_IMPORTS.get(name, f"import {name}") for name in dict.fromkeys(self._unnamed) if name in COMMON_IMPORTS or name in self._code.packages]  # fmt: skip
        unnamed = [name for name in dict.fromkeys(self._unnamed) if name not in COMMON_IMPORTS and name not in self._code.packages]  # fmt: skip
        doc = ast.get_docstring(self._definition.node) if self._definition is not None else None
        return Usage(
            target=self._called.dotted,
            shown=ast.unparse(self._call),
            place=f"{self._builder._path}:{self._step.line}",
            imports=tuple(dict.fromkeys([*filter(None, lines), *extra])),
            definitions=tuple(ast.unparse(self._flow.steps[i].node) for i in definitions),
            setup=once_lines,
            body=body,
            result=result,
            inputs=tuple(self._inputs),
            files=tuple(dict.fromkeys(self._files)),
            description=(doc or "").strip().split("\n")[0][:200],
            unnamed=tuple(unnamed),
            checked=self._definition is not None and not isinstance(self._definition.node, ast.ClassDef),
            rank=self._builder._rank,
            tier=self._tier,
            makes_object=makes_object(self._called, self._code) and not self._called.object,
            presented=shows_parts,
            printed=is_shown(self._step, self._flow),
        )

    # --- inputs

    def _input(self, leaf: Leaf, count: int) -> None:
        first = not self._inputs
        literal = (
            ast.literal_eval(leaf.value)
            if leaf.value is not None and leaf.kind in ("value", "file")
            else None
        )
        if is_path_of_file(literal):
            leaf = leaf._replace(kind="file")
        name = self._name(leaf)
        node: ast.expr = ast.Name(name, ast.Load())
        declared = self._declared(leaf)
        if leaf.kind == "file":
            suffix = suffix_of(str(literal)) or ""
            variable = leaf.name or f"{name}_path"
            if variable == name:
                variable = f"{name}_path"
            node = ast.Name(variable, ast.Load())
            self._inputs.append(Input(name, "bytes", MISSING, None, suffix, variable))
            found = str(literal).removeprefix("./")
            if self._exists(found):
                self._files.append(found)
        elif leaf.kind == "array":
            assert isinstance(leaf.value, ast.Call)
            shape = shape_of(leaf.value) or ()
            library = (dotted_of(leaf.value.func) or "np").partition(".")[0]
            made = "torch.tensor({})" if library == "torch" else library + '.asarray({}, dtype="float32")'
            node = ast.parse(made.format(name), mode="eval").body
            annotation = "float"
            for _ in shape:
                annotation = f"list[{annotation}]"
            self._inputs.append(Input(name, annotation, numbers(shape)))
            self._depends(leaf.value, leaf.step)
        elif leaf.kind == "unknown" or is_placeholder(literal):
            self._inputs.append(Input(name, declared or guessed(leaf.name or name), MISSING))
        else:
            annotation = annotation_of(literal)
            if annotation == "int" and declared is not None:
                annotation = declared
            optional = not first and count > 1 and is_setting(literal, leaf)
            default = repr(literal) if optional else None
            taken = None if first else self._taken_by(leaf)
            if taken is not None and taken.required:
                default = None  # the project makes none up, and neither do we
            elif (
                taken is not None
                and default is None
                and taken.default is not None
                and is_literal(taken.default)
            ):
                default = ast.unparse(taken.default)
                annotation += " | None" * (default == "None")
            self._inputs.append(Input(name, annotation, as_json(literal), default))
        self._swaps[id(leaf.node)] = node
        if isinstance(leaf.node, ast.Name):
            self._given[leaf.node.id] = node

    def _name(self, leaf: Leaf) -> str:
        parameter = self._parameter(leaf)
        wanted = leaf.name or (parameter.arg if parameter is not None else None)
        if wanted is None and isinstance(leaf.argument, str):
            wanted = leaf.argument
        if wanted is not None and leaf.kind == "file":
            wanted = _STEMS.sub("", wanted)
        if not wanted and leaf.kind == "file" and leaf.value is not None:
            suffix = suffix_of(str(ast.literal_eval(leaf.value))) or ""
            wanted = "image" if suffix in (".jpg", ".jpeg", ".png", ".bmp", ".webp") else "audio" if suffix in (".wav", ".mp3", ".flac") else "file"  # fmt: skip
        if wanted in BUILT_INS:
            wanted = None
        if not wanted or (wanted in ("x", "s", "_", "args", "kwargs") and leaf.value is not None):
            literal = leaf.value
            text = isinstance(literal, ast.Constant) and isinstance(literal.value, str)
            wanted = (
                wanted if wanted and wanted not in ("_", "args", "kwargs") else "text" if text else "values"
            )
        wanted = re.sub(r"\W", "_", wanted).strip("_") or "value"
        if keyword.iskeyword(wanted) or wanted[0].isdigit():
            wanted = f"{wanted}_"
        name, number = wanted, 2
        while name in self._taken or name in self._code.packages or self._is_import(name):
            name, number = f"{wanted}_{number}", number + 1
        self._taken.add(name)
        return name

    def _is_import(self, name: str) -> bool:
        bound = self._step.known.get(name)
        return bound is not None and isinstance(
            self._flow.steps[bound].node, ast.Import | ast.ImportFrom | ast.FunctionDef
        )

    def _parameter(self, leaf: Leaf) -> ast.arg | None:
        """The parameter of the called function that the leaf goes into."""
        if self._definition is None or self._tier == 2:
            return None
        known = arguments_of(self._definition)
        if isinstance(leaf.argument, int):
            return known[leaf.argument] if leaf.argument < len(known) else None
        return next((each for each in known if each.arg == leaf.argument), None)

    def _taken_by(self, leaf: Leaf) -> Parameter | None:
        """The parameter that the leaf alone is given for."""
        if self._definition is None or self._tier == 2 or leaf.argument is None:
            return None
        given = [*enumerate(self._call.args), *((each.arg, each.value) for each in self._call.keywords)]
        if (leaf.argument, id(leaf.node)) not in [(name, id(value)) for name, value in given]:
            return None
        return parameter(self._definition, leaf.argument)

    def _declared(self, leaf: Leaf) -> str | None:
        """A plain type that the parameter is annotated with."""
        parameter = self._parameter(leaf)
        if parameter is None or parameter.annotation is None:
            return None
        said = (
            ast.unparse(parameter.annotation).strip("'\"").replace("List[", "list[").removesuffix(" | None")
        )
        said = re.sub(r"^Optional\[(.*)\]$", r"\1", said)
        return said if re.fullmatch(r"(list\[)*(str|float|int|bool|bytes)\]*", said) else None

    # --- slices

    def _depends(self, node: ast.AST, index: int) -> None:
        """Note names of ``node`` that nothing binds, as what it would need."""
        known = self._flow.steps[index].known
        for name in loaded(node):
            if name not in known:
                self._unnamed.append(name)

    def _slice(self, expression: ast.expr, step: Step) -> set[int]:
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
            for name in loaded(node, self._swaps):
                bound = known.get(name)
                if name in self._given:
                    continue
                if bound is None:
                    self._unnamed.append(name)
                elif bound not in found:
                    found.add(bound)
                    there = self._flow.steps[bound]
                    todo.append((there.node, there))
        return found

    def _is_data(self, index: int) -> bool:
        """Whether a step depends on an input."""
        step = self._flow.steps[index]
        if isinstance(step.node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            return False
        if index == self._step.number:
            return True
        if any(id(node) in self._swaps for node in ast.walk(step.node)) or self._given.keys() & set(
            loaded(step.node)
        ):
            return True
        return any(
            self._is_data(bound) for name in loaded(step.node, self._swaps) if (bound := step.known.get(name)) is not None and bound != index
        )  # fmt: skip

    def _mutators(self, once: list[int]) -> set[int]:
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
                found |= {step.number, *self._slice(step.node.value, step)}
                continue
            root = (dotted_of(function) or "").partition(".")[0]
            if not isinstance(function, ast.Attribute) or root not in names or is_answer(function.attr):
                continue
            bound = step.known.get(root)
            if bound is None or isinstance(self._flow.steps[bound].node, ast.Import | ast.ImportFrom):
                continue
            if all(name in step.known or name in BUILT_INS for name in loaded(step.node)):
                found.add(step.number)
                found |= {i for i in self._slice(step.node.value, step) if not self._is_data(i)}
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

    def _hoisted(self, needed: set[int]) -> Callable[[set[str]], list[str]]:
        """``Model("base").predict(text)`` makes its object for each call; here it is made once."""
        function = self._call.func
        made = function.value if isinstance(function, ast.Attribute) else function
        if self._tier == 2 or not isinstance(made, ast.Call):
            return lambda kept: []
        maker = origin(made.func, self._step, self._flow, self._code)
        inside = any(id(node) in self._swaps for node in ast.walk(made)) or self._given.keys() & set(
            loaded(made)
        )
        if maker is None or inside:
            return lambda kept: []
        name = "_".join(words_of(maker.dotted.rpartition(".")[2])) or "made"
        name = f"{name}_object" if name in self._taken or not name.isidentifier() else name
        found = self._slice(made, self._step)
        if any(self._is_data(index) for index in found):
            return lambda kept: []
        needed |= found
        self._swaps[id(made)] = ast.Attribute(ast.Name("self", ast.Load()), name)

        def lines(kept: set[str]) -> list[str]:
            source = ast.unparse(ast.fix_missing_locations(self._rewritten(made, self._step, kept, True)))
            return [f"self.{name} = {source}"]

        return lines

    # --- source

    def _imported(self, index: int, users: list[int], expression: ast.expr) -> str:
        """The import, of the names alone that are used."""
        node = self._flow.steps[index].node
        assert isinstance(node, ast.Import | ast.ImportFrom)
        used = {name for i in users for name in loaded(self._flow.steps[i].node)} | set(loaded(expression))
        used |= set(loaded(self._call))
        used |= {name for swap in self._swaps.values() for name in loaded(swap)}
        names = [
            each
            for each in node.names
            if (each.asname or each.name.partition(".")[0]) in used or each.asname in used
        ]
        if not names:
            return ""
        if isinstance(node, ast.ImportFrom):
            return ast.unparse(ast.ImportFrom(node.module, names, node.level))
        return "\n".join(ast.unparse(ast.Import([each])) for each in names)

    def _source(self, step: Step, kept: set[str], *, setup: bool = False) -> str:
        return ast.unparse(ast.fix_missing_locations(self._rewritten(step.node, step, kept, setup)))

    def _expression_source(self, node: ast.expr, step: Step, kept: set[str]) -> str:
        return ast.unparse(ast.fix_missing_locations(self._rewritten(node, step, kept, False)))

    def _rewritten(self, node: Any, step: Step, kept: set[str], setup: bool) -> Any:
        """A copy with inputs in place of the literals, and ``self.name`` for what load() makes."""
        if id(node) in self._swaps and not setup:
            return self._swaps[id(node)]
        if isinstance(node, ast.Name) and node.id in self._given and not setup:
            return self._given[node.id]
        if isinstance(node, ast.Name) and node.id in kept:
            return ast.Attribute(ast.Name("self", ast.Load()), node.id)
        if setup and isinstance(node, ast.Constant) and isinstance(node.value, str):
            path = node.value.removeprefix("./")
            if "." in path and self._exists(path):
                self._files.append(path)
                return ast.parse(f"str(folder / {path!r})", mode="eval").body
        if (opened := _read_at_once(node)) is not None:
            path, mode = opened
            self._unnamed.append("Path")
            reads = "read_bytes" if "b" in mode else "read_text"
            return ast.parse(
                f"Path({ast.unparse(self._rewritten(path, step, kept, setup))}).{reads}()", mode="eval"
            ).body
        if isinstance(node, ast.AST):
            return type(node)(
                **{name: self._rewritten(value, step, kept, setup) for name, value in ast.iter_fields(node)}
            )
        if isinstance(node, list):
            return [self._rewritten(each, step, kept, setup) for each in node]  # pyright: ignore[reportUnknownVariableType]
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


def _outermost(node: ast.expr, ours: Callable[[ast.Call], bool]) -> Iterator[ast.Call]:
    """Calls of the project that are not a part of another one of them."""
    if isinstance(node, ast.Call) and ours(node):
        yield node
        # what it is called on may be a call of its own: Model().predict(text) is one, Model() is not
        return
    if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _outermost(child, ours)
        elif isinstance(child, ast.keyword):
            yield from _outermost(child.value, ours)
