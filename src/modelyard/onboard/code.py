"""The modules of a project, as syntax: what they import, what they define, what they fetch."""

import ast
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from modelyard.onboard.material import Material

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_MOST = 3000  # modules that are read
_LARGEST = 1024 * 1024  # bytes of one
_ASIDE = frozenset(
    {"test", "tests", "testing", "doc", "docs", "example", "examples", "demo", "demos", "scripts", "script", "bench",
     "benchmark", "benchmarks", "notebooks", "build", "dist", "bin", "node_modules", "site-packages", ".github", "ci"}
)  # fmt: skip
# Of Python 2's standard library: imported by what still runs on it, and no packages.
_PYTHON_2 = frozenset(
    {"cPickle", "StringIO", "cStringIO", "ConfigParser", "Queue", "urllib2", "urlparse", "httplib", "__builtin__", "commands",
     "Tkinter", "HTMLParser", "itertools", "sets", "SocketServer", "BaseHTTPServer", "Cookie", "cookielib", "thread", "copy_reg"}
)  # fmt: skip
ROOTS = ("src", "lib", "python")  # folders whose packages are imported without their name
_FETCHES = re.compile(
    r"\b(from_pretrained|hf_hub_download|snapshot_download|urlretrieve|load_state_dict_from_url|torch\.hub\.load|"
    r"gdown\.download|wget\.download|cached_path|pooch\.retrieve|requests\.get|urlopen)\s*\("
)
_GPU = re.compile(r"\.cuda\(|['\"]cuda(:\d)?['\"]|torch\.cuda\.|CUDAExecutionProvider|\.to\(['\"]cuda")
_CPU = re.compile(r"cuda\.is_available|['\"]cpu['\"]|CPUExecutionProvider|device\s*=|device:")


class Found(NamedTuple):
    """A definition: where it stands, and its module."""

    node: Definition
    module: str
    place: str


class Code:
    """``packages``: what can be imported, by name, and its path below the project's folder."""

    def __init__(self, material: Material) -> None:
        self._root = material.folder
        self.packages: dict[str, str] = dict(self._importable(wheel=material.kind == "package"))
        self._trees: dict[str, ast.Module | None] = {}

    def _importable(self, *, wheel: bool) -> Iterator[tuple[str, str]]:
        for prefix in ("",) if wheel else ("", *ROOTS):
            folder = self._root / prefix if prefix else self._root
            if not folder.is_dir():
                continue
            for path in sorted(folder.iterdir()):
                name = path.stem
                if not name.isidentifier() or name.startswith("_") or (not wheel and path.name in _ASIDE):
                    continue
                if path.is_dir() and (
                    (path / "__init__.py").is_file() or (wheel and any(path.glob("**/*.py")))
                ):
                    yield path.name, path.relative_to(self._root).as_posix()
                elif path.suffix == ".py" and name not in (
                    "setup",
                    "conftest",
                    "model",
                    "noxfile",
                    "tasks",
                ):
                    yield name, path.relative_to(self._root).as_posix()

    def modules(self) -> Iterator[tuple[str, str]]:
        """Dotted name and path of every module of its packages; not their tests."""
        count = 0
        for name, place in self.packages.items():
            path = self._root / place
            files = [path] if path.is_file() else sorted(path.rglob("*.py"))
            for file in files:
                inside = file.relative_to(path if path.is_dir() else path.parent).with_suffix("").parts
                if count >= _MOST or _ASIDE.intersection(inside[:-1]):
                    continue
                count += 1
                parts = (name, *inside) if path.is_dir() else (name,)
                dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                yield dotted, file.relative_to(self._root).as_posix()

    def text(self, path: str) -> str:
        """A file as text; empty when it cannot be read, is too large, or leaves the folder."""
        place = self._root / path
        try:
            inside = place.resolve().is_relative_to(self._root.resolve())
            if not inside or not place.is_file() or place.stat().st_size > _LARGEST:
                return ""
            return place.read_text("utf-8", errors="replace")
        except OSError:
            return ""

    def tree(self, path: str) -> ast.Module | None:
        """A file's syntax, or None when it has none that this Python knows."""
        if path not in self._trees:
            self._trees[path] = parse(self.text(path))
        return self._trees[path]

    def path_of(self, module: str) -> str | None:
        """The file of a dotted name, or None."""
        name, _, inside = module.partition(".")
        if name not in self.packages:
            return None
        place = Path(self.packages[name])
        if place.suffix == ".py":
            return None if inside else place.as_posix()
        below = place.joinpath(*inside.split(".")) if inside else place
        for path in (below.with_suffix(".py") if inside else None, below / "__init__.py"):
            if path is not None and (self._root / path).is_file():
                return path.as_posix()
        return None

    def find(self, dotted: str, depth: int = 0) -> Found | None:
        """The function, class or method that ``package.module.name[.method]`` is, also when a module only
        hands it on."""
        if depth > 8:
            return None
        parts = dotted.split(".")
        for end in range(len(parts) - 1, 0, -1):
            module = ".".join(parts[:end])
            path = self.path_of(module)
            tree = self.tree(path) if path is not None else None
            if path is None or tree is None:
                continue
            return self._in_module(tree, module, path, parts[end:], depth)
        return None

    def _in_module(
        self, tree: ast.Module, module: str, path: str, names: list[str], depth: int
    ) -> Found | None:
        name, *rest = names
        for node in _statements(tree.body):
            if isinstance(node, Definition) and node.name == name:
                found = Found(node, module, f"{path}:{node.lineno}")
                return self._method(found, rest, depth) if rest else found
            if isinstance(node, ast.ImportFrom):
                base = _absolute(node, module, package=path.endswith("__init__.py"))
                for each in node.names:
                    if each.asname == name or (each.asname is None and each.name == name):
                        return self.find(".".join([base, each.name, *rest]), depth + 1)
                    if each.name == "*" and (found := self.find(".".join([base, *names]), depth + 1)):
                        return found
            if isinstance(node, ast.Assign) and not rest and ast.unparse(node.targets[0]) == name:
                given = dotted_of(node.value.func if isinstance(node.value, ast.Call) else node.value)
                if given and given != name:  # another name for it
                    return self.find(f"{module}.{given}", depth + 1)
        return None

    def _method(self, owner: Found, rest: list[str], depth: int) -> Found | None:
        if not isinstance(owner.node, ast.ClassDef) or len(rest) != 1:
            return None
        for node in _statements(owner.node.body):
            if isinstance(node, Definition) and node.name == rest[0]:
                return Found(node, owner.module, f"{owner.place.rpartition(':')[0]}:{node.lineno}")
        for base in owner.node.bases:
            called = dotted_of(base)
            if called and (found := self.find(f"{owner.module}.{called}.{rest[0]}", depth + 1)):
                return found
        return None

    def public(self) -> Iterator[tuple[str, Found]]:
        """What a user sees first: the functions and classes that the packages' ``__init__`` define or hand
        on, by dotted name."""
        for name in self.packages:
            path = self.path_of(name)
            tree = self.tree(path) if path is not None else None
            for node in _statements(tree.body if tree else []):
                names: list[str] = []
                if isinstance(node, Definition):
                    names = [node.name]
                elif isinstance(node, ast.ImportFrom):
                    names = [each.asname or each.name for each in node.names]
                for each in names:
                    if not each.startswith("_") and each != "*" and (found := self.find(f"{name}.{each}")):
                        yield f"{name}.{each}", found

    def imports(self, start: "Iterable[str] | None" = None) -> dict[str, str]:
        """Packages of others that are imported for sure (not in a ``try`` or a function), and where first.

        ``start``: dotted names; then only what importing these imports, else what any module does.
        """
        found: dict[str, str] = {}
        todo = [name for name, _ in self.modules()] if start is None else list(start)
        seen: set[str] = set()
        while todo:
            name = todo.pop(0)
            parents = [".".join(name.split(".")[:end]) for end in range(1, name.count(".") + 2)]
            for module in parents:
                path = self.path_of(module)
                if module in seen or path is None:
                    continue
                seen.add(module)
                tree = self.tree(path)
                for node in tree.body if tree else ():
                    for each in _imported(node, module, package=path.endswith("__init__.py")):
                        top = each.partition(".")[0]
                        if top in self.packages:
                            if start is not None:
                                todo.append(each)
                        elif top not in sys.stdlib_module_names and top not in _PYTHON_2 and top[0] != "_":
                            found.setdefault(top, f"{path}:{node.lineno}")
        return found

    def fetches(self) -> list[tuple[str, str]]:
        """Lines that fetch something when they run, and where they stand; at most ten."""
        return self._lines(_FETCHES, 10)

    def gpu(self) -> tuple[str, bool] | None:
        """Where a GPU is spoken of first, and whether the same file knows a processor too; else None."""
        found = self._lines(_GPU, 1)
        if not found:
            return None
        place = found[0][1]
        return place, bool(_CPU.search(self.text(place.rpartition(":")[0])))

    def _lines(self, pattern: re.Pattern[str], most: int) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for _, path in self.modules():
            for number, line in enumerate(self.text(path).splitlines(), 1):
                if pattern.search(line) and not line.lstrip().startswith("#"):
                    found.append((line.strip()[:160], f"{path}:{number}"))
                    if len(found) >= most:
                        return found
        return found


def _imported(node: ast.stmt, module: str, *, package: bool) -> list[str]:
    """The dotted names that a statement imports; of ``from a import b`` both a and a.b."""
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _absolute(node, module, package=package)
        return [base, *(f"{base}.{each.name}" for each in node.names)] if base else []
    return []


def parse(text: str) -> ast.Module | None:
    """Python as syntax, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def dotted_of(node: ast.expr | None) -> str | None:
    """``a.b.c`` of a chain of names, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else None


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a module or class, also under ``if`` and ``try``."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _statements([*node.body, *node.orelse])
            for handler in node.handlers if isinstance(node, ast.Try) else ():
                yield from _statements(handler.body)


def _absolute(node: ast.ImportFrom, module: str, *, package: bool) -> str:
    """The module that an import names, from the module that it stands in."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + (1 if package else 0)]
    return ".".join([*kept, *([node.module] if node.module else [])])
