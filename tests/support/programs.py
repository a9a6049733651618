"""Recipes of programs as they are deployed, with what a record becomes: arguments and files."""

import importlib.util
import json
import os
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelyard.analyze import analyze
from modelyard.catalog import recipe
from modelyard.catalog.catalog import load
from modelyard.store.files import FolderFiles
from modelyard_executor.adapters import command

PROGRAMS = (
    "boltz",
    "chai",
    "protenix",
    "alphafold3",
    "conda",
    "colabfold_batch",
    "spliceai",
    "splam",
    "reinvent",
)


class Laid:
    """An entry's files as they are deployed, and its record as a program is given it."""

    def __init__(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str = "cpu"
    ) -> None:
        self.folder, self.given = tmp_path / "F", tmp_path / "G"
        programs = tmp_path / "programs"
        for each in (self.folder, self.given, programs):
            each.mkdir()
        for each in PROGRAMS:  # to be found, not to be run
            (programs / each).touch(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(command, "adopt", lambda: None)
        entry = load().entries[name]
        recipe.lay(entry, self.folder)
        self.weights = self.folder / recipe.WEIGHTS
        self.weights.mkdir()
        self.described = analyze(FolderFiles(self.folder))
        self.adapter = command.Adapter()
        self.adapter.load(self.folder, device, {**self.described.options, "threads": 2})
        self._tmp_path = tmp_path

    def record(self, **values: Any) -> dict[str, Any]:
        return {**self.adapter._defaults, **values}

    def driven(self, **values: Any) -> dict[str, Any]:
        """The record as a driver of the recipe reads it."""
        return json.loads(self.adapter._as_json(self.record(**values), self.given))

    def line(self, **values: Any) -> str:
        """The command line, F and G for the folders of the files and of what was given; python for its path."""
        first, *others = self.adapter._arguments(self.record(**values), self.given)
        return self.short([Path(first).name.split("3")[0], *others])

    def files(self, **values: Any) -> dict[str, str]:
        declared = self.described.options["command"]
        assert isinstance(declared, dict)
        return {
            path: self.adapter._fill(text, self.record(**values), self.given).replace(str(self.folder), "F")
            for path, text in declared["files"].items()
        }

    def short(self, arguments: list[str]) -> str:
        return shlex.join(arguments).replace(str(self.folder), "F").replace(str(self.given), "G")

    def driver(self, name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            f"driver_{self.folder.name}_{name}", self.folder / f"{name}.py"
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
