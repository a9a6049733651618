"""A plain function: its source as model.py, with the imports and constants that it uses."""

import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from modelyard.core.errors import RejectedContent
from modelyard.objects.example import Example
from modelyard.objects.library import Given, Saved
from modelyard.package.pins import packages_of

NAME = "a plain function (its source, with the imports, constants and functions that it uses)"


def takes(model: object) -> bool:
    return isinstance(model, FunctionType)


def save(model: FunctionType, folder: Path, given: Given) -> Saved:
    parts = _Parts()
    parts.add(model, "predict")
    source = "\n".join([*sorted(parts.imports), "", *parts.constants.values(), "", *parts.sources.values()])
    (folder / "model.py").write_text(source.strip() + "\n", encoding="utf-8")
    outside = parts.modules - set(sys.stdlib_module_names)
    example = given.example
    return Saved(
        None if example is None else lambda: _answers(model, example),
        requirements=packages_of(sorted(outside)),
        python=True,
    )


class _Parts:
    """The source of a function and of everything of its module that it needs."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.modules: set[str] = set()
        self.constants: dict[str, str] = {}
        self.sources: dict[str, str] = {}

    def add(self, function: FunctionType, name: str) -> None:
        """``function``, called ``name``. Raises RejectedContent for what its source alone does not tell."""
        told = function.__name__
        if function.__closure__:
            raise _no(told, f"it uses {', '.join(function.__code__.co_freevars)} of the function around it")
        try:
            source = textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError) as error:
            raise _no(
                told, "its source is not known (it was made by exec, or typed at a prompt)"
            ) from error
        try:
            tree = ast.parse(source).body[0]
        except SyntaxError as error:
            raise _no(told, "its source does not stand alone") from error
        if not isinstance(tree, ast.FunctionDef) or tree.decorator_list:
            raise _no(
                told,
                "only a function of its own (def, without decorators) has a source that stands alone; no lambda",
            )
        tree.name = name
        self.sources[told] = ""  # a function may call itself
        for used in sorted(_names(tree)):
            if used in function.__globals__:
                self._use(used, function.__globals__[used], told)
            elif not hasattr(builtins, used):
                raise _no(told, f"it uses {used}, which is not there")
        if name == "predict" != told and any(
            isinstance(each, ast.Name) and each.id == told for each in ast.walk(tree)
        ):
            raise _no(told, "it calls itself by its name; call it predict")
        self.sources[told] = ast.unparse(tree) + "\n"

    def _use(self, name: str, value: Any, told: str) -> None:
        if isinstance(value, ModuleType) and _is_installed(value.__name__):
            self.imports.add(
                f"import {value.__name__} as {name}" if value.__name__ != name else f"import {name}"
            )
            self.modules.add(value.__name__.partition(".")[0])
        elif isinstance(value, bool | int | float | str | bytes | None) or _literal(value):
            self.constants[name] = f"{name} = {value!r}"
        elif (place := _importable(value)) is not None:
            self.imports.add(f"from {place} import {value.__name__} as {name}")
            self.modules.add(place.partition(".")[0])
        elif isinstance(value, FunctionType):
            if value.__name__ not in self.sources:
                self.add(value, name)
        else:
            raise _no(
                told,
                f"it uses {name}, a {type(value).__name__} that is no constant, import or function; push a folder with a "
                "model.py and what it loads instead",
            )


def _names(tree: ast.AST) -> set[str]:
    """The names that are read and not bound in it."""
    bound = {each.arg for each in ast.walk(tree) if isinstance(each, ast.arg)}
    read: set[str] = set()
    for each in ast.walk(tree):
        if isinstance(each, ast.Name):
            (read if isinstance(each.ctx, ast.Load) else bound).add(each.id)
        elif isinstance(each, ast.alias):
            bound.add((each.asname or each.name).partition(".")[0])
        elif isinstance(each, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler) and each.name:
            bound.add(each.name)
    return read - bound


def _is_installed(module: str) -> bool:
    """Whether another process finds it: it is Python's, or from a package, and no file that lies here."""
    root = module.partition(".")[0]
    return root in sys.stdlib_module_names or bool(packages_of([root]))


def _importable(value: Any) -> str | None:
    """The module that a function or class is imported from elsewhere, too."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not (
        callable(value) and isinstance(module, str) and isinstance(name, str) and _is_installed(module)
    ):
        return None
    return module if getattr(sys.modules.get(module), name, None) is value else None


def _literal(value: Any) -> bool:
    """Whether its repr is a literal of the same value."""
    if not isinstance(value, list | tuple | dict | set | frozenset) or len(text := repr(value)) > 100_000:
        return False
    try:
        return ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        return False


def _no(name: str, why: str) -> RejectedContent:
    return RejectedContent(f"The function {name} cannot be pushed: {why}.", field="model")


def _answers(model: FunctionType, example: Example) -> Mapping[str, Any]:
    """What it returns; a dict is outputs by name."""
    if example.named is not None:
        records: list[dict[str, Any]] = [
            {name: values[row] for name, values in example.named.items()} for row in range(example.rows)
        ]
    else:
        names = list(inspect.signature(model).parameters)
        records = [dict(zip(names, values, strict=False)) for values in zip(*example.placed, strict=True)]
    answers = [model(**record) for record in records]
    return {"output": answers}
