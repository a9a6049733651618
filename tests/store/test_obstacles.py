"""What a search is told whose filters exclude each other."""

import pytest

from modelyard.core.card import Card
from modelyard.core.listing import Wanted
from modelyard.core.metrics import figures_table
from support.registry import Registry


def told(registry: Registry, **wanted: object) -> list[tuple[str, str]]:
    page = registry.listings.search(Wanted(**wanted))  # type: ignore[arg-type]
    assert page.versions == () and page.hints == ()
    return [(each.field, each.value) for each in page.obstacles]


@pytest.fixture
def shelf(registry: Registry) -> Registry:
    for auc in (0.95, 0.7):
        registry.add("fraud", size=10, card=Card(task="tabular", metrics=(figures_table({"auc": auc}),)))
    registry.add(
        "iris", size=5, format="GGUF", card=Card(task="tabular", licence="MIT", tags=("flowers", "small"))
    )
    registry.add("whale", size=50, card=Card(task="audio", licence="MIT", tags=("sea", "small")))
    return registry


def test_each_without_which_something_is_found(shelf: Registry) -> None:
    assert told(shelf, task="audio", format="GGUF") == [("task", "audio"), ("format", "GGUF")]
    assert told(shelf, task="audio", licence="MIT", tags=("small", "flowers")) == [
        ("task", "audio"),
        ("tag", "flowers"),
    ]
    assert told(shelf, text="whale", commercial=True, max_size=9) == [("text", "whale"), ("max_size", "9")]
    assert told(shelf, name="iris", commercial=False) == [("commercial", "false")]


def test_none_when_it_takes_two(shelf: Registry) -> None:
    assert told(shelf, name="whale", task="tabular", format="GGUF", text="fraud") == []


def test_older_versions_are_told_of(shelf: Registry) -> None:
    assert told(shelf, metrics=("auc>=0.9",), sort="-metric") == [
        ("metric", "auc>=0.9"),
        ("all_versions", "false"),
    ]
    assert ("all_versions", "false") not in told(
        shelf, metrics=("auc>=0.9",), task="audio", all_versions=True
    )


def test_other_projects_are_not_told_of(shelf: Registry) -> None:
    assert told(shelf, project="other", name="fraud") == []


def test_what_is_found_and_later_pages_have_none(shelf: Registry) -> None:
    assert shelf.listings.search(Wanted()).obstacles == ()
    page = shelf.listings.search(Wanted(sort="oldest"), 2)
    last = shelf.listings.search(Wanted(sort="oldest"), 2, page.next)
    assert len(last.versions) == 1 and last.obstacles == ()
