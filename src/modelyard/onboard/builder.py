"""From an example to the usages in it: the call that it is about, the statements that this needs (its slice), and
of these the ones that depend on the data of the call.
"""

import ast
import keyword
import re
from collections.abc import Callable, Iterator

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
from modelyard.onboard.rewriting import Rewriting
from modelyard.onboard.shown import is_shown, presented
from modelyard.onboard.slice import Slice
from modelyard.onboard.usage import MISSING, Input, Usage, suffix_of, words_of

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
        self._slice = Slice(self._flow, self._code, step)
        self._rewriting = Rewriting(self._slice, builder._exists)
        self._taken: set[str] = {"self", "folder", "Model", "predict", "load"}
        self._inputs: list[Input] = []
        for leaf in leaves:
            self._input(leaf, len(leaves))

    def usage(self) -> Usage | None:
        expression, shows_parts = presented(self._step, self._flow)
        needed = self._slice.steps_of(expression, self._step)
        hoisted = self._hoisted(needed)
        data = [index for index in sorted(needed) if self._slice.is_data(index)]
        once = [index for index in sorted(needed) if index not in data]
        once = sorted({*once, *self._slice.mutators(once)})
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
        once_lines = (
            *(self._rewriting.source(self._flow.steps[i].node, kept, setup=True) for i in setup),
            *hoisted(kept),
        )
        body = tuple(self._rewriting.source(self._flow.steps[i].node, kept) for i in data)
        result = self._rewriting.source(expression, kept)
        extra = [COMMON_IMPORTS.get(name, f"import {name}") for name in dict.fromkeys(self._slice.unnamed) if name in COMMON_IMPORTS or name in self._code.packages]  # fmt: skip
        unnamed = [name for name in dict.fromkeys(self._slice.unnamed) if name not in COMMON_IMPORTS and name not in self._code.packages]  # fmt: skip
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
            files=tuple(dict.fromkeys(self._rewriting.files)),
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
                self._rewriting.files.append(found)
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
            self._slice.depends(leaf.value, leaf.step)
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
        self._slice.swaps[id(leaf.node)] = node
        if isinstance(leaf.node, ast.Name):
            self._slice.given[leaf.node.id] = node

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

    def _hoisted(self, needed: set[int]) -> Callable[[set[str]], list[str]]:
        """``Model("base").predict(text)`` makes its object for each call; here it is made once."""
        function = self._call.func
        made = function.value if isinstance(function, ast.Attribute) else function
        if self._tier == 2 or not isinstance(made, ast.Call):
            return lambda kept: []
        maker = origin(made.func, self._step, self._flow, self._code)
        inside = any(
            id(node) in self._slice.swaps for node in ast.walk(made)
        ) or self._slice.given.keys() & set(loaded(made))
        if maker is None or inside:
            return lambda kept: []
        name = "_".join(words_of(maker.dotted.rpartition(".")[2])) or "made"
        name = f"{name}_object" if name in self._taken or not name.isidentifier() else name
        found = self._slice.steps_of(made, self._step)
        if any(self._slice.is_data(index) for index in found):
            return lambda kept: []
        needed |= found
        self._slice.swaps[id(made)] = ast.Attribute(ast.Name("self", ast.Load()), name)

        def lines(kept: set[str]) -> list[str]:
            return [f"self.{name} = {self._rewriting.source(made, kept, setup=True)}"]

        return lines

    def _imported(self, index: int, users: list[int], expression: ast.expr) -> str:
        """The import, of the names alone that are used."""
        node = self._flow.steps[index].node
        assert isinstance(node, ast.Import | ast.ImportFrom)
        used = {name for i in users for name in loaded(self._flow.steps[i].node)} | set(loaded(expression))
        used |= set(loaded(self._call))
        used |= {name for swap in self._slice.swaps.values() for name in loaded(swap)}
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
