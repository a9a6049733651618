"""The files of a model that was looked at: ``model.py``, what it needs, an example, a test. Yours to change."""

import ast
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from modelyard.core.errors import Conflict, Internal
from modelyard.onboard.code import ROOTS, parse
from modelyard.onboard.look import Look
from modelyard.onboard.usage import Input, Usage

# Of a project's folder, what no model needs.
_LEFT = shutil.ignore_patterns(
    ".*", "__pycache__", "*.pyc", "test", "tests", "doc", "docs", "example", "examples", "demo", "demos", "notebooks", "benchmark",
    "benchmarks", "*.egg-info", "*.ipynb", "setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "PKG-INFO", "tox.ini", "conftest.py",
    "noxfile.py", "Makefile", "requirements*.txt", "environment*.yml", "README*", "CHANGELOG*", "build", "dist", "node_modules", "*.gif",
)  # fmt: skip
_MARK = "# Written by `modelyard add"


def write(look: Look, folder: Path, *, overwrite: bool = False) -> list[str]:
    """Write the model into ``folder``, whole or not at all; the paths of what was written.

    Raises Conflict when there is something in it and ``overwrite`` is not said, or it is nothing that was
    written here. What is written over is kept beside it (:func:`put_in_place`).
    """
    assert look.usage is not None  # a report that is ready has one
    taken = folder.exists() and any(folder.iterdir())
    if taken and overwrite and not _is_ours(folder):
        raise Conflict(
            f"{folder} is no folder that `modelyard add` has written, and is not written over. Name another one (--to FOLDER).",
            field="to",
        )
    if taken and not overwrite:
        raise Conflict(
            f"There is something in {folder} already. Name another folder (--to FOLDER), or write it anew (--overwrite).",
            field="to",
        )
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        if look.material.kind != "package":
            _copy(look, partial)
        (partial / "model.py").write_text(model_source(look))
        (partial / "requirements.txt").write_text(_requirements(look))
        (partial / "model.yaml").write_text(_model_yaml(look))
        (partial / "test_model.py").write_text(_test_source(look))
        put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def put_in_place(partial: Path, folder: Path) -> None:
    """``partial`` as ``folder``. What was there is kept as ``<folder>.before``: somebody may have put more in."""
    if folder.exists():
        before = folder.with_name(f"{folder.name}.before")
        shutil.rmtree(before, ignore_errors=True)
        folder.rename(before)
    partial.rename(folder)


def _is_ours(folder: Path) -> bool:
    try:
        return (folder / "model.yaml").read_text("utf-8", errors="replace").startswith(_MARK)
    except OSError:
        return False


def _left(root: Path) -> Callable[[str, list[str]], set[str]]:
    """What is not copied of the project at ``root``: what no model needs, and links that leave it."""

    def left(place: str, names: list[str]) -> set[str]:
        outside = {name for name in names if not Path(place, name).resolve().is_relative_to(root)}
        return outside | set(_LEFT(place, names))

    return left


def _copy(look: Look, to: Path) -> None:
    """The project's folder, without what no model needs; and the files that the example names."""
    assert look.usage is not None
    source = look.material.folder
    shutil.copytree(source, to, ignore=_left(source.resolve()), dirs_exist_ok=True)
    for root in {PurePosixPath(place).parts[0] for place in look.packages.values()} & {*ROOTS}:
        if root not in look.packages and (to / root).is_dir():
            shutil.copytree(to / root, to, dirs_exist_ok=True)
            shutil.rmtree(to / root)
    for path in look.usage.files:
        if not (to / path).is_file():
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, to / path)


def model_source(look: Look) -> str:
    """``model.py``: a function ``predict``, or a class ``Model`` when something is made once."""
    assert look.usage is not None
    usage = _apart(look.usage)
    files = [each for each in usage.inputs if each.suffix is not None]
    needs_folder = any("folder /" in line for line in usage.setup)
    imports = list(usage.imports)
    if files:
        imports.append("from tempfile import NamedTemporaryFile")
    if usage.setup:
        imports.append("from pathlib import Path")
    # An executor's Python may be older than `X | None`.
    future = (
        ["from __future__ import annotations", ""]
        if any(" | " in each.annotation for each in usage.inputs)
        else []
    )
    head = [f'"""{_docstring(look, usage)}\n"""', "", *future, *_sorted_imports(imports), ""]
    parts = list(head)
    for definition in usage.definitions:
        parts += ["", definition, ""]
    described = usage.description or f"What {usage.shown} gives."
    if not usage.setup:
        parts += ["", *_predict(usage, files, described, method=False)]
    else:
        parts += ["", "class Model:", "    def load(self, folder: Path) -> None:"]
        if not needs_folder:
            parts[-1] = "    def load(self, _folder: Path) -> None:"
        parts += [textwrap.indent(line, " " * 8) for line in usage.setup]
        parts += ["", *_predict(usage, files, described, method=True)]
    source = "\n".join(parts).rstrip() + "\n"
    if parse(source) is None:
        raise Internal(
            f"What was made of {usage.shown} is not Python; tell its authors of {look.report.source!r}."
        )
    return source


def _apart(usage: Usage) -> Usage:
    """The usage, with another name for what the project calls as ``model.py`` calls its own."""
    own = "Model" if usage.setup else "predict"
    renamer = _Renamer(own, f"{usage.target.partition('.')[0]}_{own}")

    def renamed(lines: Sequence[str]) -> tuple[str, ...]:
        return tuple(ast.unparse(renamer.visit(ast.parse(line))) for line in lines)

    imports, definitions = renamed(usage.imports), renamed(usage.definitions)
    if not renamer.bound:
        return usage
    return usage._replace(
        imports=imports,
        definitions=definitions,
        setup=renamed(usage.setup),
        body=renamed(usage.body),
        result=renamed([usage.result])[0],
    )


class _Renamer(ast.NodeTransformer):
    """``bound``: whether an import or a definition binds ``old``."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new, self.bound = old, new, False

    def visit_alias(self, node: ast.alias) -> ast.alias:
        if (node.asname or node.name) != self._old:
            return node
        self.bound = True
        return ast.alias(node.name, self._new)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._new, node.ctx) if node.id == self._old else node

    def _defined(self, node: Any) -> Any:
        if node.name == self._old:
            self.bound, node.name = True, self._new
        return self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _defined


def _docstring(look: Look, usage: Usage) -> str:
    lines = [
        f"{look.project.name}: {look.project.summary or usage.description or 'a model'}".rstrip(".") + "."
    ]
    lines += [
        "",
        f"Serves {usage.shown}",
        f"as {usage.place} shows it. Written by `modelyard add`; change it as you like.",
    ]
    return "\n".join(lines).replace("\\", "\\\\").replace('"""', "'''")


def _predict(usage: Usage, files: Sequence[Input], described: str, *, method: bool) -> Iterator[str]:
    margin = "    " if method else ""
    arguments = (["self"] if method else []) + [_argument(each) for each in _ordered(usage.inputs)]
    yield f"{margin}def predict({', '.join(arguments)}):"
    margin += "    "
    yield f'{margin}"""{_sentence(described)}"""'
    for each in files:
        handle = f"{each.name}_file"
        yield f'{margin}with NamedTemporaryFile(suffix="{each.suffix}") as {handle}:'
        margin += "    "
        yield f"{margin}{handle}.write({each.name} if isinstance({each.name}, bytes) else {each.name}.encode())"
        yield f"{margin}{handle}.flush()"
        yield f"{margin}{each.variable} = {handle}.name"
    body, result = list(usage.body), usage.result
    last = ast.parse(body[-1]).body[0] if body else None
    if isinstance(last, ast.Assign) and ast.unparse(last.targets[0]) == result:
        body, result = body[:-1], ast.unparse(last.value)
    for line in body:
        if (opened := _opened(line)) is not None:
            yield f"{margin}{opened}"
            margin += "    "
        else:
            yield textwrap.indent(line, margin)
    yield textwrap.indent(f"return {result}", margin)


def _opened(line: str) -> str | None:
    """``with open(path) as file:`` of ``file = open(path)``."""
    (node,) = ast.parse(line).body
    if (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "open"
    ):
        return f"with {ast.unparse(node.value)} as {node.targets[0].id}:"
    return None


def _ordered(inputs: Sequence[Input]) -> list[Input]:
    return sorted(inputs, key=lambda each: each.default is not None)


def _argument(each: Input) -> str:
    annotated = each.name if each.annotation == "object" else f"{each.name}: {each.annotation}"
    if each.default is None:
        return annotated
    return f"{annotated} = {each.default}" if ":" in annotated else f"{annotated}={each.default}"


def _sentence(text: str) -> str:
    text = " ".join(text.replace("\\", "\\\\").replace('"', "'").split())
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def _sorted_imports(lines: Sequence[str]) -> list[str]:
    """In the usual groups: standard library, and the rest; each sorted."""
    plain: dict[int, set[str]] = {}
    named: dict[int, dict[str, set[str]]] = {}
    for line in "\n".join(lines).splitlines():
        (node,) = ast.parse(line).body
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = named.setdefault(_group(module), {}).setdefault(module, set())
            names |= {each.name + (f" as {each.asname}" if each.asname else "") for each in node.names}
        elif isinstance(node, ast.Import):
            for each in node.names:
                called = each.name + (f" as {each.asname}" if each.asname else "")
                plain.setdefault(_group(each.name), set()).add(called)
    blocks: list[str] = []
    for group in sorted({*plain, *named}):
        block = [f"import {each}" for each in sorted(plain.get(group, ()), key=str.lower)]
        for module, names in sorted(named.get(group, {}).items(), key=lambda item: item[0].lower()):
            block.append(f"from {module} import {', '.join(sorted(names, key=_as_isort))}")
        blocks.append("\n".join(block))
    return ["\n\n".join(blocks)] if blocks else []


def _as_isort(name: str) -> tuple[int, str]:
    """Constants first, then classes, then the rest."""
    bare = name.split(" ")[0]
    return (0 if bare.isupper() and len(bare) > 1 else 1 if bare[:1].isupper() else 2, name)


def _group(module: str) -> int:
    top = module.partition(".")[0]
    return 0 if top in sys.stdlib_module_names else 1


def _requirements(look: Look) -> str:
    lines = [f"{need.line}  # {need.reason}" for need in look.requirements]
    return "\n".join(lines) + "\n" if lines else "# nothing beyond Python\n"


def _model_yaml(look: Look) -> str:
    head = f"{_MARK} {look.report.source}`. What may stand here: docs/model-yaml.md.\n"
    body: dict[str, Any] = {"adapter": "function"}
    if look.python is not None:
        body["python"] = look.python
    if look.project.system_packages:
        body["system_packages"] = [each.line for each in look.project.system_packages]
    if look.example:
        body["example"] = look.example
    return head + yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=120)


def _test_source(look: Look) -> str:
    usage = look.usage
    assert usage is not None
    values: list[str] = []
    encoded = False
    for name, value in look.example.items():
        if isinstance(value, dict) and set(value) == {"b64"}:
            encoded = True
            values.append(f"{name}=b64decode({value['b64']!r})")
        else:
            values.append(f"{name}={value!r}")
    made = ["model = Model()", "model.load(Path(__file__).parent)"] if usage.setup else []
    called = f"{'model.' if usage.setup else ''}predict({', '.join(values)})"
    lines = [
        '"""The model answers its example. Run it in its environment: python test_model.py"""',
        "",
        "import unittest",
    ]
    lines += ["from base64 import b64decode"] if encoded else []
    lines += ["from pathlib import Path"] if usage.setup else []
    lines += ["", f"from model import {'Model' if usage.setup else 'predict'}", "", ""]
    lines += ["class TestModel(unittest.TestCase):", "    def test_answers_its_example(self):"]
    lines += [f"        {line}" for line in made]
    lines += [
        f"        self.assertIsNotNone({called})",
        "",
        "",
        'if __name__ == "__main__":',
        "    unittest.main()",
    ]
    return "\n".join(lines) + "\n"
