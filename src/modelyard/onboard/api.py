"""Usages from definitions alone, for a project that shows no example: guesses, and said to be."""

import ast
import re
from collections.abc import Iterator

from modelyard.onboard.code import Code, Found
from modelyard.onboard.origin import arguments_of
from modelyard.onboard.usage import MISSING, Input, Usage, is_answer

_SKIPPED = re.compile(r"^_|^(train|fit|save|load|plot|test|main|log|set|get)_?")


def usages_of_api(code: Code) -> Iterator[Usage]:
    """Of each public function that is named as what computes an answer, and of such methods of each public
    class that can be made without arguments."""
    for dotted, found in code.public():
        name = dotted.rpartition(".")[2]
        if isinstance(found.node, ast.FunctionDef):
            if (
                (is_answer(name) or name == dotted.partition(".")[0])
                and not _SKIPPED.match(name)
                and (usage := _of_function(dotted, found))
            ):
                yield usage
        elif isinstance(found.node, ast.ClassDef):
            yield from _of_class(dotted, found, code)


def _of_function(dotted: str, found: Found) -> Usage | None:
    inputs = _inputs(found)
    module, _, name = dotted.rpartition(".")
    if inputs is None:
        return None
    return _usage(dotted, name, found, (f"from {module} import {name}",), (), inputs)


def _of_class(dotted: str, found: Found, code: Code) -> Iterator[Usage]:
    assert isinstance(found.node, ast.ClassDef)
    init = code.find(f"{dotted}.__init__")
    if init is not None and any(_required(init)):
        return
    module, _, name = dotted.rpartition(".")
    made = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    for node in found.node.body:
        if not isinstance(node, ast.FunctionDef) or (not is_answer(node.name) and node.name != "__call__"):
            continue
        method = code.find(f"{dotted}.{node.name}")
        inputs = (
            _inputs(method) if method is not None and not _SKIPPED.match(node.name.strip("_")) else None
        )
        if method is not None and inputs:
            called = f"self.{made}" + ("" if node.name == "__call__" else f".{node.name}")
            imports = (f"from {module} import {name}",)
            yield _usage(
                f"{dotted}.{node.name}", called, method, imports, (f"self.{made} = {name}()",), inputs
            )


def _required(found: Found) -> Iterator[ast.arg]:
    assert isinstance(found.node, ast.FunctionDef | ast.AsyncFunctionDef)
    arguments = found.node.args
    known = arguments_of(found)
    optional = len(arguments.defaults)
    positional = [each for each in known if each not in arguments.kwonlyargs]
    yield from positional[: len(positional) - optional] if optional <= len(positional) else ()
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is None:
            yield each


def _inputs(found: Found) -> tuple[Input, ...] | None:
    if not isinstance(found.node, ast.FunctionDef) or found.node.args.vararg is not None:
        return None
    return tuple(map(_input, _required(found))) or None


def _input(argument: ast.arg) -> Input:
    if re.search(r"(path|file|filename|fname)$", argument.arg):
        return Input(argument.arg, "bytes", MISSING, None, "", f"{argument.arg}_path")
    return Input(argument.arg, _annotation(argument), MISSING)


def _annotation(argument: ast.arg) -> str:
    said = "" if argument.annotation is None else ast.unparse(argument.annotation).strip("'\"")
    said = said.replace("List[", "list[")
    if re.fullmatch(r"(list\[)*(str|float|int|bool|bytes)\]*", said):
        return said
    if re.search(r"\bbytes\b", said):
        return "bytes"
    return (
        "str"
        if re.search(r"text|sentence|sequence|smiles|string|word|query|prompt", argument.arg)
        else "object"
    )


def _usage(
    target: str,
    called: str,
    found: Found,
    imports: tuple[str, ...],
    setup: tuple[str, ...],
    inputs: tuple[Input, ...],
) -> Usage:
    given = ", ".join(f"{each.name}={each.variable or each.name}" for each in inputs)
    return Usage(
        target=target,
        shown=f"{target.partition('.')[2]}({', '.join(each.name for each in inputs)})",
        place=found.place,
        imports=imports,
        definitions=(),
        setup=setup,
        body=(),
        result=f"{called}({given})",
        inputs=inputs,
        files=(),
        description=(ast.get_docstring(found.node) or "").strip().split("\n")[0][:200],
        unnamed=(),
        checked=True,
        rank=3,
        tier=0,
        makes_object=False,
        presented=False,
        printed=False,
    )
