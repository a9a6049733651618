"""The executor runs on whatever Python a model's environment has: 3.9 or newer, its standard library alone."""

import ast
import sys
from pathlib import Path

import pytest

import modelyard_executor

FOLDER = Path(modelyard_executor.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_file_is_written_in_the_grammar_of_3_9(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_file_imports_more_than_the_standard_library_when_it_is_imported(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            root = name.partition(".")[0]
            assert root in sys.stdlib_module_names or root == "modelyard_executor", name
