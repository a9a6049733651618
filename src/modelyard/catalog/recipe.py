"""Recipes: what an entry of the catalog brings beside a model's own files, so that it can be run.

    recipes/<name>/model.yaml   how it is served: a Python function, or a program; see docs/model-yaml.md
    recipes/<name>/model.py     the function, where it is one
    recipes/<name>/…            whatever these two want beside them

Several entries may have one recipe. In a fetched folder its files are at the top and the model's own in
``weights``, where there are any to fetch. A value ``{file: page.png}`` of the recipe's example is that file.
"""

import base64
import hashlib
import json
import tempfile
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelyard.catalog.entry import Entry
from modelyard.core.errors import Internal

MODEL_YAML: Final = "model.yaml"
OPTIONS: Final = "options.json"
WEIGHTS: Final = "weights"


@cache
def names() -> frozenset[str]:
    """All recipes."""
    folder = files("modelyard.catalog").joinpath("recipes")
    return frozenset(each.name for each in folder.iterdir() if each.joinpath(MODEL_YAML).is_file())


def lay(entry: Entry, folder: Path) -> None:
    """Put the files of the entry's recipe into ``folder``. Into ``model.yaml`` goes what the entry knows and
    the recipe leaves to it: the requirements, with the package that its weights are in; the example; and its
    options, as defaults of the parameters called so. All of them are in ``options.json`` too, for ``load``.

    Raises Internal for a recipe that there is not.
    """
    if entry.recipe not in names():
        raise Internal(f"The entry {entry.name!r} has the recipe {entry.recipe!r}, which there is not.")
    recipe = files("modelyard.catalog").joinpath("recipes").joinpath(entry.recipe)
    _copy(recipe, folder)
    declared = declared_by(entry)
    (folder / MODEL_YAML).write_text(yaml.safe_dump(declared, sort_keys=False, allow_unicode=True))
    if entry.options:
        (folder / OPTIONS).write_text(json.dumps(entry.options) + "\n")


def declared_by(entry: Entry) -> dict[str, Any]:
    """``model.yaml`` of an entry that has a recipe, as it is laid out."""
    recipe = files("modelyard.catalog").joinpath("recipes").joinpath(entry.recipe or "")
    declared: dict[str, Any] = yaml.safe_load(recipe.joinpath(MODEL_YAML).read_text("utf-8"))
    requirements = list(declared.get("requirements", entry.requirements))
    package = entry.source.package
    if package is not None and entry.source.path is None and _name(package) not in map(_name, requirements):
        requirements.insert(
            0, package
        )  # its code runs the model, and its weights stay where they are in it
    if requirements:
        declared["requirements"] = requirements
    if entry.example is not None:
        declared.setdefault("example", entry.example)
    for name, value in declared.get("example", {}).items():
        if isinstance(value, dict) and value.keys() == {"file"}:
            data = recipe.joinpath(value["file"]).read_bytes()
            declared["example"][name] = {"b64": base64.b64encode(data).decode()}
    for parameter in declared.get("signature", {}).get("parameters", ()):
        if parameter["name"] in entry.options:
            parameter["default"] = entry.options[parameter["name"]]
    return declared


def digest(entry: Entry) -> str:
    """What tells one state of an entry's recipe from another: SHA-256 of all that is laid out."""
    with tempfile.TemporaryDirectory() as folder:
        lay(entry, Path(folder))
        found = hashlib.sha256()
        for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            found.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
        return found.hexdigest()


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _copy(source: Traversable, folder: Path) -> None:
    for each in source.iterdir():
        if each.is_dir():
            if each.name != "__pycache__":
                (folder / each.name).mkdir()
                _copy(each, folder / each.name)
        else:
            (folder / each.name).write_bytes(each.read_bytes())
