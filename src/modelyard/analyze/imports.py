"""What a function's code imports, and whether it asks for a GPU; read as syntax."""

import ast
import sys
from collections.abc import Iterable, Sequence

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelyard.analyze.packages import alike, package_of
from modelyard.core.files import Files
from modelyard.core.model import GpuNeed


def imported(tree: ast.Module, files: Files) -> tuple[str, ...]:
    """The packages of an index that the code imports wherever it does, by their names there. Python's own modules
    and the files beside are none."""
    beside = {path.partition("/")[0].removesuffix(".py") for path in files.paths if path.endswith(".py")}
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    others = modules - sys.stdlib_module_names - beside
    return tuple(sorted({str(package_of(module)) for module in others}))


def unlisted(imports: Iterable[str], requirements: Sequence[str]) -> tuple[str, ...]:
    """A warning for what no requirement is called like: another package may bring it, or nobody does."""
    listed = {str(canonicalize_name(Requirement(line).name)) for line in requirements}
    missing = [each for each in imports if each not in listed and not alike(each, listed)]
    if not missing:
        return ()
    return (
        f"model.py imports {', '.join(missing)}, which requirements.txt does not list. Unless one of the listed "
        "packages brings it, loading will fail.",
    )


def gpu_of(tree: ast.Module) -> tuple[GpuNeed, str]:
    """Whether the code says that it computes on a GPU: never asked whether there is one, it needs it."""
    asks = False
    line = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "is_available":
            asks = True
        called = (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cuda"
        )
        named = (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and (node.value == "cuda" or node.value.startswith("cuda:"))
        )
        if (called or named) and not line:
            line = getattr(node, "lineno", 0)
    if not line:
        return "no", ""
    if asks:
        return "can", f"model.py, line {line}, names cuda where it is available"
    return "needs", f"model.py, line {line}, names cuda and does not ask whether it is there"
