"""By which values models can be filtered, and how often that is counted."""

from pathlib import Path

import pytest

from modelyard.core.card import Card
from modelyard.core.listing import Wanted
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.metrics import MetricsTable, figures_table
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


def test_counts_are_of_what_the_other_filters_leave(database: Database) -> None:
    versions = Versions(database)
    add(versions, "a", "1", "docking")
    add(versions, "b", "2", "docking", "gguf")
    add(versions, "c", "3", "folding", "gguf")
    add(versions, "d", "4", None)
    facets = Facets(database)
    found = facets.values(Wanted(format="gguf"))
    assert found["task"] == (("docking", 1), ("folding", 1))
    assert found["format"] == (("gguf", 2), ("onnx", 2))  # what choosing another one of its kind would find
    assert facets.values(Wanted(format="gguf", task="docking"))["format"] == (("gguf", 1), ("onnx", 1))
    assert facets.values(Wanted(text="nothing"))["task"] == ()
    assert facets.values(Wanted(name="a"))["format"] == (("onnx", 1),)
    database.close()


def test_tags_are_counted_among_what_is_found_and_several_hold_at_once(database: Database) -> None:
    versions = Versions(database)
    for number, (model, tags) in enumerate(
        {"a": ("blood", "small"), "b": ("blood",), "c": ("small",), "d": ()}.items()
    ):
        files = Manifest(files=(FileEntry(path="m", size=1, sha256=f"{number}" * 64),))
        analysis = Analysis(format="onnx" if model != "c" else "gguf", adapter="onnx")
        versions.add(model, files, analysis, False, card=Card(tags=tags))
    facets = Facets(database)
    assert facets.values()["tag"] == (("blood", 2), ("small", 2))
    assert facets.values(Wanted(tags=("blood",)))["tag"] == (("blood", 2), ("small", 1))
    assert facets.values(Wanted(tags=("blood", "small")))["tag"] == (("blood", 1), ("small", 1))
    assert facets.values(Wanted(format="gguf"))["tag"] == (("small", 1),)
    assert facets.values(Wanted(format="skops"))["tag"] == ()
    database.close()


def test_counts_of_few_searches_are_kept(database: Database) -> None:
    facets = Facets(database)
    for number in range(200):
        facets.values(Wanted(text=f"word{number}"))
    assert len(facets._counted) == 64
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


def test_names_of_figures_are_counted_once_a_version(database: Database) -> None:
    versions = Versions(database)
    table = MetricsTable(title="t", columns=("data", "f1", "auc"), rows=(("x", 0.5, 0.6), ("y", 0.6, 0.6)))
    for digit, metrics in (("1", (table,)), ("2", (figures_table({"f1": 0.9}),)), ("3", ())):
        files = Manifest(files=(FileEntry(path="m", size=1, sha256=digit * 64),))
        analysis = Analysis(format="onnx", adapter="onnx")
        versions.add(f"m{digit}", files, analysis, False, card=Card(metrics=metrics))
    facets = Facets(database)
    assert facets.values()["metric"] == (("f1", 2), ("auc", 1))
    assert facets.values(Wanted(metrics=("auc>0.5",), sort="metric"))["metric"] == (("auc", 1), ("f1", 1))
    database.close()
