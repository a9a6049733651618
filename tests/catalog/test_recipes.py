"""What entries bring to be run: each recipe is a model that analysis understands, and takes what its entries say."""

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from modelyard.analyze import analyze
from modelyard.catalog import recipe
from modelyard.catalog.catalog import load
from modelyard.catalog.entry import Entry
from modelyard.store.files import FolderFiles

COOKED = [each for each in load().entries.values() if each.recipe is not None]


@pytest.mark.parametrize("entry", COOKED, ids=lambda entry: entry.name)
def test_an_entry_and_its_recipe_say_the_same(entry: Entry, tmp_path: Path) -> None:
    recipe.lay(entry, tmp_path)
    (tmp_path / recipe.WEIGHTS).mkdir()
    found = analyze(FolderFiles(tmp_path))
    assert found.adapter == entry.adapter
    assert found.signature is not None
    takes = {each.name for each in found.signature.inputs}
    assert takes == {each.name for each in entry.inputs}
    assert {each.name for each in found.signature.outputs} == {each.name for each in entry.outputs}
    assert found.requirements or found.adapter == "command", "what has to be installed"
    named = {each.name for each in found.signature.parameters}
    reads_options = any(recipe.OPTIONS in path.read_text() for path in tmp_path.glob("*.py"))
    assert reads_options or entry.options.keys() <= named, "an option that nobody reads"


def test_every_recipe_is_somebodys() -> None:
    assert recipe.names() == {entry.recipe for entry in COOKED}


def test_a_recipe_is_code_that_is_read_and_not_a_module_of_ours() -> None:
    for folder in files("modelyard.catalog").joinpath("recipes").iterdir():
        assert not folder.joinpath("__init__.py").is_file()
        assert yaml.safe_load(folder.joinpath("model.yaml").read_text())
