"""How people are told to call it: the Python in a project's README, docstrings, examples and tests.

Prose mixes Python with shells, outputs and elisions; what does not parse is left out, statement by
statement, and what was shown as a result is noted.
"""

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from modelyard.onboard.code import Code, parse
from modelyard.onboard.material import Material
from modelyard.onboard.project import Project

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*\{?\.?([\w+-]*)")
_DIRECTIVE = re.compile(
    r"^([ \t]*)(?:\.\. (?:code-block|code|sourcecode)::[ \t]*([\w-]*)[^\n]*|[^\n]*::[ \t]*)\n", re.MULTILINE
)
_PYTHON = frozenset({"", "python", "py", "python3", "pycon", "ipython", "ipython3", "console", "doctest"})
_PROMPT = re.compile(r"^\s*(>>>|\.\.\.)( |$)")
_NOTEBOOK_PROMPT = re.compile(r"^\s*(In|Out) ?\[\d*\]: ?")
_LONGEST = 60  # lines of a statement
_EXAMPLES = 40  # files that are looked into


class Piece(NamedTuple):
    """A statement as it stands in a text. ``shown``: its value is printed below it."""

    node: ast.stmt
    line: int
    shown: bool


class Document(NamedTuple):
    """Statements that follow each other. ``rank``: 0 is what users are told first."""

    path: str
    rank: int
    pieces: tuple[Piece, ...]


def documents(material: Material, project: Project, code: Code) -> Iterator[Document]:
    """All of them, those that users are told first in front."""
    if project.readme is not None:
        yield Document(project.readme.path, 0, tuple(_of_prose(project.readme.text)))
    for path in _guides(material.folder):
        place = path.relative_to(material.folder).as_posix()
        yield Document(place, 1, tuple(_of_prose(code.text(place))))
    yield from _docstrings(code)
    yield from _mains(code)
    yield from _files(material.folder, code)


def _guides(folder: Path) -> list[Path]:
    """Pages of documentation, those for beginners first."""
    found = [*folder.glob("doc*/**/*.md"), *folder.glob("doc*/**/*.rst")]
    first = re.compile(r"usage|quick|start|tutorial|example|guide|index|intro", re.IGNORECASE)
    return sorted(found, key=lambda path: (not first.search(path.name), path.as_posix()))[:_EXAMPLES]


def _of_prose(text: str) -> Iterator[Piece]:
    for block, line in _blocks(text):
        yield from pieces_of(block, line)


def _blocks(text: str) -> Iterator[tuple[str, int]]:
    """Blocks of code in Markdown or reStructuredText that may be Python, with the line that each begins at."""
    text = text.replace("\r\n", "\n")
    fenced = list(_fenced(text.split("\n")))
    for language, lines, first in fenced:
        if language.lower() in _PYTHON:
            yield textwrap.dedent("".join(f"{line}\n" for line in lines)), first
    if fenced:
        return
    for match in _DIRECTIVE.finditer(text):
        if (match[2] or "").lower() in _PYTHON:
            block, skipped = _indented(text[match.end() :], len(match[1].expandtabs()))
            if block.strip():
                yield block, text.count("\n", 0, match.end()) + 1 + skipped
    yield from _loose(text)


def _fenced(lines: list[str]) -> Iterator[tuple[str, list[str], int]]:
    """Language, lines and the number of the first line of each block between fences; each line is looked at once
    for each kind of fence, however many of them are never closed."""
    closing: dict[str, list[int]] = {}  # by what closes: its lines, the last first
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].lstrip(" \t")[:3] in ("```", "~~~"):
            closing.setdefault(lines[number].rstrip(" \t"), []).append(number)
    index = 0
    while index < len(lines):
        match = _FENCE.match(lines[index])
        ends = closing.get(match[1] + match[2], []) if match is not None else []
        while ends and ends[-1] <= index:
            ends.pop()
        if match is not None and ends:
            yield match[3], lines[index + 1 : ends[-1]], index + 2
            index = ends[-1]
        index += 1


def _indented(text: str, above: int) -> tuple[str, int]:
    """The block that is indented more than ``above``, and how many lines it comes later."""
    lines = text.split("\n")
    start = next((index for index, line in enumerate(lines) if line.strip() and not re.match(r"\s*:\w+:", line)), len(lines))  # fmt: skip
    kept: list[str] = []
    for line in lines[start:]:
        if line.strip() and len(line) - len(line.lstrip()) <= above:
            break
        kept.append(line)
    return textwrap.dedent("\n".join(kept)), start


def _loose(text: str) -> Iterator[tuple[str, int]]:
    """Prompts that stand in the text, and blocks that are only indented."""
    lines = text.split("\n")
    index = 0
    while index < len(lines):
        if _PROMPT.match(lines[index]) or re.match(r"( {4}|\t)(import|from) ", lines[index]):
            start = index
            while index < len(lines) and (lines[index].strip() or lines[min(index + 1, len(lines) - 1)].startswith(("    ", "\t"))):  # fmt: skip
                index += 1
            yield textwrap.dedent("\n".join(lines[start:index])), start + 1
        index += 1


def pieces_of(block: str, first: int) -> Iterator[Piece]:
    """The statements of a block whose first line is ``first``; with prompts, only what is typed."""
    lines = block.split("\n")
    if any(re.match(r"\s*>>>( |$)", line) or _NOTEBOOK_PROMPT.match(line) for line in lines):
        yield from _prompted(lines, first)
        return
    kept = ["" if re.match(r"\s*[$!%]\s*\w", line) else line for line in lines]
    tree = parse("\n".join(kept))
    if tree is not None:
        for node in tree.body:
            yield Piece(node, first + node.lineno - 1, _comment_follows(lines, node))
        return
    yield from _salvaged(kept, first)


def _comment_follows(lines: list[str], node: ast.stmt) -> bool:
    """Whether the statement's value is told in a comment at its end or on the next line."""
    end = node.end_lineno or node.lineno
    tail = lines[end - 1][node.end_col_offset or 0 :] if end <= len(lines) else ""
    below = lines[end] if end < len(lines) else ""
    return bool(re.match(r"\s*#\s*(=>|->|>|→|[\[{('\"\d]|True|False)", tail) or re.match(r"\s*#\s*(=>|->|>|→|Output|[\[{('\"\d]|True|False)", below))  # fmt: skip


def _prompted(lines: list[str], first: int) -> Iterator[Piece]:
    index = 0
    while index < len(lines):
        if re.match(r"\s*>>>", lines[index]) or re.match(r"\s*In ?\[", lines[index]):
            start, typed = index, [_typed(lines[index])]
            index += 1
            while index < len(lines) and re.match(r"\s*\.\.\.", lines[index]):
                typed.append(_typed(lines[index]))
                index += 1
            typed, index = _continued(typed, lines, index)
            answered = index < len(lines) and bool(lines[index].strip()) and not _PROMPT.match(lines[index])
            for node in (parse("\n".join(typed)) or ast.Module([], [])).body:
                yield Piece(node, first + start + node.lineno - 1, answered)
        else:
            index += 1


def _continued(typed: list[str], lines: list[str], index: int) -> tuple[list[str], int]:
    """What follows without a prompt, where the statement is not complete without it."""
    if parse("\n".join(typed)) is not None:
        return typed, index
    for end in range(index + 1, min(index + _LONGEST, len(lines)) + 1):
        if re.match(r"\s*>>>", lines[end - 1]):
            break
        if parse("\n".join([*typed, *lines[index:end]])) is not None:
            return [*typed, *lines[index:end]], end
    return typed, index


def _typed(line: str) -> str:
    return _NOTEBOOK_PROMPT.sub("", re.sub(r"^\s*(>>>|\.\.\.) ?", "", line))


def _salvaged(lines: list[str], first: int) -> Iterator[Piece]:
    """Statement by statement, without those that are no Python."""
    index = 0
    while index < len(lines):
        if not lines[index].strip() or lines[index][0].isspace():
            index += 1
            continue
        longest = None
        for end in range(index + 1, min(index + _LONGEST, len(lines)) + 1):
            if end < len(lines) and lines[end].strip() and lines[end][0].isspace():
                continue  # within a block
            tree = parse("\n".join(lines[index:end]))
            if tree is not None and len(tree.body) <= 1:
                longest = end, tree
                if end < len(lines) and lines[end].strip():
                    break
            elif longest is not None:
                break
        if longest is None:
            index += 1
            continue
        end, tree = longest
        for node in tree.body:
            yield Piece(node, first + index, False)
        index = end


def _docstrings(code: Code) -> Iterator[Document]:
    for module, path in code.modules():
        tree = code.tree(path)
        if tree is None or any(part.startswith("_") for part in module.split(".")):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text and (">>>" in text or "```" in text or "::" in text):
                    line = getattr(node, "lineno", 1)
                    pieces = tuple(
                        piece._replace(line=line) for block, _ in _blocks(text) for piece in pieces_of(block, line)
                    )  # fmt: skip
                    if pieces:
                        yield Document(path, 1, _with_import(module, node, pieces))


def _with_import(module: str, node: ast.AST, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """A docstring's example often takes its own module as known."""
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return pieces
    known = ast.ImportFrom(module, [ast.alias(node.name)], 0)
    return (Piece(known, node.lineno, False), *pieces)


def _mains(code: Code) -> Iterator[Document]:
    """What a module does when it is run: often a demonstration of what it defines."""
    for module, path in code.modules():
        tree = code.tree(path)
        for node in tree.body if tree else ():
            if isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__ =="):
                assert tree is not None
                own = [each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef)]
                above: list[ast.stmt] = [
                    each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom | ast.Assign)
                ]
                if own:
                    above.append(ast.ImportFrom(module, [ast.alias(name) for name in own], 0))
                pieces = [*(Piece(each, node.lineno, False) for each in above), *_flat(node.body)]
                yield Document(path, 2, tuple(pieces))


def _files(folder: Path, code: Code) -> Iterator[Document]:
    """Example programs and notebooks, then tests: each function of a test by itself."""
    scripts = [
        *sorted(folder.glob("*example*.py")), *sorted(folder.glob("*demo*.py")), *sorted(folder.glob("*examples*/**/*.py")),
        *sorted(folder.glob("*demo*/**/*.py")), *sorted(folder.glob("scripts/*.py")),
    ]  # fmt: skip
    notebooks = [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("*/*.ipynb"))]
    tests = [*sorted(folder.glob("test*/**/test_*.py")), *sorted(folder.glob("test_*.py")), *sorted(folder.glob("*/test*/**/test_*.py"))]  # fmt: skip
    for path in scripts[:_EXAMPLES]:
        tree = code.tree(path.relative_to(folder).as_posix())
        if tree is not None:
            yield Document(path.relative_to(folder).as_posix(), 2, tuple(_flat(tree.body)))
    for path in notebooks[:_EXAMPLES]:
        place = path.relative_to(folder).as_posix()
        yield Document(place, 2, tuple(_of_notebook(code.text(place))))
    for path in tests[:_EXAMPLES]:
        place = path.relative_to(folder).as_posix()
        tree = code.tree(place)
        if tree is not None:
            above = [
                Piece(node, node.lineno, False) for node in tree.body if not isinstance(node, ast.ClassDef)
            ]
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                    yield Document(place, 3, (*above, *_flat(node.body)))


def _flat(body: list[ast.stmt]) -> Iterator[Piece]:
    """The statements of a script; those of its ``main()`` in its place."""
    for node in body:
        yield Piece(node, node.lineno, False)
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == "main" and not node.args.args:
            yield from (Piece(each, each.lineno, False) for each in node.body)


def _of_notebook(text: str) -> Iterator[Piece]:
    try:
        cells = json.loads(text)["cells"]
        for cell in cells:
            if cell["cell_type"] == "code":
                source = cell["source"]
                yield from pieces_of(source if isinstance(source, str) else "".join(source), 1)
    except (ValueError, KeyError, TypeError, RecursionError):
        return
