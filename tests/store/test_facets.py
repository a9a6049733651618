"""By which values models can be filtered, and how often that is counted."""

from pathlib import Path

import pytest

from modelyard.core.card import Card
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.store.database import Database
from modelyard.store.facets import Facets
from modelyard.store.versions import Versions


def add(versions: Versions, model: str, digit: str, task: str | None, format: str = "onnx") -> None:
    files = Manifest(files=(FileEntry(path="m", size=1, sha256=digit * 64),))
    versions.add(model, files, Analysis(format=format, adapter="onnx"), False, card=Card(task=task))


@pytest.fixture
def database(place: Path | str) -> Database:
    made = Database(place)
    made.migrate()
    return made


def test_the_latest_versions_are_counted_by_each_value(database: Database) -> None:
    versions = Versions(database)
    add(versions, "a", "1", "docking")
    add(versions, "a", "2", "docking", "gguf")  # in place of the first one
    add(versions, "b", "3", "docking")
    add(versions, "c", "4", None)
    found = Facets(database).values()
    assert found["task"] == (("docking", 2),)
    assert found["format"] == (("onnx", 2), ("gguf", 1))
    assert found["licence"] == ()
    database.close()


def test_what_was_counted_is_told_a_hundred_times_as_long_as_counting_took(database: Database) -> None:
    versions = Versions(database)
    ticks = iter([0.0, 1.0, 50.0, 102.0, 102.0, 103.0])  # counted from 0 to 1, asked at 50 and at 102
    facets = Facets(database, clock=lambda: next(ticks))
    assert facets.values()["task"] == ()
    add(versions, "a", "1", "docking")
    assert facets.values()["task"] == ()
    assert facets.values()["task"] == (("docking", 1),)
    database.close()
