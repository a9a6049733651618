"""Versions are found, and put in order, by what was measured of them."""

import itertools
from collections.abc import Sequence

import pytest
from bench.models import registry as large
from sqlalchemy import func, select

from modelyard.core.card import Card
from modelyard.core.errors import InvalidInput
from modelyard.core.figure import parse_bound
from modelyard.core.listing import BY_METRIC, Wanted
from modelyard.core.metrics import MetricsTable, figures_table
from modelyard.store import tables
from support.registry import Registry


def names(registry: Registry, *metrics: str, **wanted: object) -> list[str]:
    page = registry.listings.search(Wanted(metrics=metrics, **wanted), 100)  # type: ignore[arg-type]
    return [f"{each.model}/{each.number}" for each in page.versions]


def on_data(metric: str, **values: float) -> Card:
    rows = tuple(values.items())
    return Card(
        metrics=(
            MetricsTable(
                title="t", columns=("data", metric, "n"), rows=tuple((*row, None) for row in rows)
            ),
        )
    )


@pytest.fixture
def shelf(registry: Registry) -> Registry:
    registry.add("fraud", card=Card(metrics=(figures_table({"AUC": 0.8, "ms": 5}),)))
    registry.add("fraud", card=Card(metrics=(figures_table({"auc": 0.9, "ms": 9}),)))
    registry.add("chat", card=Card(category="text", metrics=(figures_table({"auc": 0.85}),)))
    registry.add("bert", card=on_data("accuracy", mnli=0.8, sst2=0.95))
    registry.add("roberta", card=on_data("accuracy", mnli=0.9, cola=0.6))
    registry.add("plain")
    return registry


def test_by_a_bound(shelf: Registry) -> None:
    assert names(shelf, "auc>=0.85") == ["chat/1", "fraud/2"]
    assert names(shelf, "auc>0.85") == names(shelf, "AUC = 0.9") == ["fraud/2"]
    assert names(shelf, "auc<0.85") == []  # the latest alone
    assert names(shelf, "auc<0.85", all_versions=True) == ["fraud/1"]
    assert names(shelf, "auc", "ms<=9") == ["fraud/2"]
    assert names(shelf, "auc", category="text") == ["chat/1"]


def test_on_some_data_or_on_any(shelf: Registry) -> None:
    assert names(shelf, "accuracy[mnli]>=0.85") == ["roberta/1"]
    assert names(shelf, "accuracy>=0.85") == ["roberta/1", "bert/1"]
    assert names(shelf, "accuracy[cola]") == ["roberta/1"]
    assert names(shelf, "accuracy[mnli]", "accuracy[sst2]>0.9") == ["bert/1"]


@pytest.mark.parametrize(
    ("bound", "rising"),
    [
        ("auc", ["fraud/1", "chat/1", "fraud/2"]),
        ("auc>=0.85", ["chat/1", "fraud/2"]),
        ("accuracy[mnli]", ["bert/1", "roberta/1"]),
        ("accuracy>=0.5", ["roberta/1", "bert/1"]),  # by the highest of each
        ("accuracy<=0.99", ["roberta/1", "bert/1"]),  # by the lowest
        ("ms", ["fraud/1", "fraud/2"]),
        ("accuracy=0.8", ["bert/1"]),
    ],
)
def test_in_the_order_of_a_figure(shelf: Registry, bound: str, rising: list[str]) -> None:
    assert names(shelf, bound, sort="metric", all_versions=True) == rising
    assert names(shelf, bound, sort="-metric", all_versions=True) == rising[::-1]


def test_what_was_asked_for_is_told(shelf: Registry) -> None:
    (found,) = shelf.listings.search(Wanted(metrics=("ms", "AUC>=0.5"))).versions
    assert [(each.told, each.value) for each in found.figures] == [("ms", 9.0), ("auc", 0.9)]
    (found,) = shelf.listings.search(Wanted(metrics=("accuracy>0.7", "accuracy[cola]"))).versions
    assert [(each.told, each.value) for each in found.figures] == [
        ("accuracy[mnli]", 0.9),
        ("accuracy[cola]", 0.6),
    ]
    assert all(each.figures == () for each in shelf.listings.search(Wanted()).versions)


def test_what_the_card_says_is_of_every_version_that_does_not_say_it_itself(shelf: Registry) -> None:
    given = figures_table({"auc": 0.5, "recall": 0.7})
    shelf.cards.change(
        "fraud", {"metrics": [{"title": "t", "columns": given.columns, "rows": given.rows}]}, who="ada"
    )
    assert names(shelf, "auc<=0.5", all_versions=True) == []
    assert names(shelf, "recall=0.7", all_versions=True) == ["fraud/2", "fraud/1"]
    shelf.cards.change("fraud", {"metrics": []}, who="ada")
    assert names(shelf, "recall", all_versions=True) == names(shelf, "auc", name="fraud") == []


def test_a_figure_that_is_set_anew_is_found_by_its_new_value_alone(shelf: Registry) -> None:
    told = {"title": "t", "columns": ["metric", "value"], "rows": [["auc", 0.99]], "source": "fraud/1"}
    shelf.cards.change("fraud", {"metrics": [told]}, who="ada")
    assert names(shelf, "auc", name="fraud", sort="-metric", all_versions=True) == ["fraud/1", "fraud/2"]
    assert names(shelf, "auc<0.9", "auc", name="fraud", all_versions=True) == []


def test_what_a_variant_was_measured_with_is_its_own(shelf: Registry) -> None:
    shelf.lineage.set(
        ("fraud", 2), ("fraud", 1), "variant", tradeoff={"watts": [30, 9], "auc": [0.8, 0.1]}, who="ada"
    )
    assert names(shelf, "watts<10", all_versions=True) == ["fraud/2"]
    assert names(shelf, "auc=0.9") == ["fraud/2"]  # what it was pushed with comes first
    shelf.lineage.remove("fraud", 2, who="ada")
    assert names(shelf, "watts", all_versions=True) == []


def test_what_is_gone_leaves_no_figures(shelf: Registry) -> None:
    shelf.retirement.delete("fraud", 2, grace=0, who="ada")
    assert names(shelf, "auc", name="fraud") == ["fraud/1"]
    shelf.retirement.collect(shelf.clock.now)
    shelf.versions.delete_model("chat")
    shelf.versions.delete_model("bert")
    shelf.versions.delete_model("roberta")
    with shelf.database.session() as session:
        assert session.execute(select(func.count()).select_from(tables.figures)).scalar() == 2
        assert session.execute(select(func.count()).select_from(tables.version_metrics)).scalar() == 1


def test_figures_are_made_anew_with_the_listings(shelf: Registry) -> None:
    def everything() -> Sequence[object]:
        with shelf.database.session() as session:
            return session.execute(select(tables.figures).order_by(*tables.figures.primary_key)).all()

    before = everything()
    assert len(before) == 9
    shelf.listings.rebuild()
    assert everything() == before


@pytest.mark.parametrize(
    "bound",
    ["auc", "auc>=0.5", "latency_ms<0.3", "accuracy", "accuracy[mnli]>0.3", "accuracy<=0.4", "recall@10>0"],
)
def test_of_many_what_was_asked_for_comes_page_by_page(registry: Registry, bound: str) -> None:
    """However it is looked for: by figures and licences of every rarity."""
    large.fill(registry.database, 2500)
    with registry.database.session() as session:
        listed = session.execute(select(tables.listings)).all()
        figures = session.execute(select(tables.figures)).all()
    asked = parse_bound(bound)
    held: dict[int, list[float]] = {}
    for row in figures:
        if asked.holds(row.name, row.data, row.value):
            held.setdefault(row.version_id, []).append(row.value)
    for licence, sort in itertools.product((None, "MIT", "CC0-1.0"), BY_METRIC):
        falling = sort == "-metric"
        end = max if (falling if asked.comparison is None else asked.comparison in (">=", ">")) else min
        expected = sorted(
            (
                (end(held[row.version_id]), row.version_id, f"{row.model}/{row.number}")
                for row in listed
                if row.version_id in held and licence in (None, row.licence)
            ),
            reverse=falling,
        )
        wanted = Wanted(metrics=(bound,), licence=licence, sort=sort, all_versions=True)  # type: ignore[arg-type]
        found: list[str] = []
        page = registry.listings.search(wanted, 200)
        while True:
            found += [f"{each.model}/{each.number}" for each in page.versions]
            if page.next is None:
                break
            page = registry.listings.search(wanted, 200, page.next)
        assert found == [name for _, _, name in expected]
        assert registry.listings.count(wanted, 5000) == len(found)


@pytest.mark.parametrize("name", ["text", "rest", "narrow", "ranked", "value", "name"])
def test_a_figure_may_have_any_name(registry: Registry, name: str) -> None:
    large.fill(registry.database, 2100)  # so many that searches are planned
    made = registry.add("m", card=Card(metrics=(figures_table({name: 0.5}),)))
    for sort in ("newest", *BY_METRIC):
        assert names(registry, f"{name}>=0.5", sort=sort) == [f"m/{made.number}"]
        assert names(registry, "auc", f"{name}>=0.5", sort=sort, all_versions=True) == []


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"metrics": ("auc>=x",)}, "metric"),
        ({"metrics": "auc"}, "metrics"),
        ({"sort": "metric"}, "metric"),
        ({"sort": "-metric"}, "metric"),
    ],
)
def test_what_asks_nothing_is_refused(wanted: dict, field: str) -> None:
    with pytest.raises(InvalidInput) as told:
        Wanted(**wanted)
    assert told.value.field == field
