"""The adapters that there are: the executor's own list, read as syntax, and the families."""

import ast
from functools import cache
from importlib.resources import files as resources

from modelyard.analyze import families
from modelyard.core.errors import Internal


@cache
def names() -> frozenset[str]:
    """Every adapter that model.yaml may ask for."""
    file = resources("modelyard_executor").joinpath("adapters/__init__.py")
    for statement in ast.parse(file.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "NAMES":
            return frozenset(ast.literal_eval(statement.value)) | families.names()
    raise Internal("The executor's adapters/__init__.py has no NAMES.")
