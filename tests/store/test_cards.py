"""Cards: filled by catalogs and READMEs, changed by people, who have the last word."""

from typing import Any

import pytest
from sqlalchemy import Engine, event

from modelyard.core.card import Card
from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.listing import Wanted
from modelyard.core.metrics import MetricsTable, figures_table
from support.registry import Registry


def test_a_model_begins_with_an_empty_card(registry: Registry) -> None:
    registry.add("m")
    answer = registry.cards.get("m")
    assert (answer.card, answer.readme, answer.set_by) == (Card(), False, None)


def test_what_is_changed_is_changed_and_the_rest_stays(registry: Registry) -> None:
    registry.add("m", card=Card(title="A model", licence="MIT", tags=("b", "a")))
    registry.cards.change("m", {"task": "embedding", "text": "# Hello"}, who="ada")
    answer = registry.cards.get("m")
    assert answer.card == Card(
        title="A model", text="# Hello", task="embedding", licence="MIT", commercial=True, tags=("a", "b")
    )
    assert answer.set_by == "ada"


def test_a_licence_brings_its_own_word_on_commercial_use(registry: Registry) -> None:
    registry.add("m", card=Card(licence="mit"))
    assert registry.cards.get("m").card.commercial is True
    assert registry.cards.change("m", {"licence": "CC-BY-NC-4.0"}, who="ada").commercial is False
    assert registry.cards.change("m", {"licence": "LicenseRef-Ours"}, who="ada").commercial is None
    assert registry.cards.change(
        "m", {"licence": "LicenseRef-Ours", "commercial": True}, who="ada"
    ).commercial


def test_what_people_said_is_not_filled_over(registry: Registry) -> None:
    registry.add("m")
    registry.cards.change("m", {"licence": "MIT"}, who="ada")
    registry.add("m", card=Card(licence="GPL-3.0", category="docking"))
    card = registry.cards.get("m").card
    assert (card.licence, card.category) == ("MIT", "docking")


def test_the_readme_of_a_version_is_the_text_until_one_is_set(registry: Registry) -> None:
    registry.add("m", readme="# One")
    registry.add("m", readme="# Two")
    registry.add("m")
    assert [registry.cards.get("m", n).card.text for n in (1, 2, 3)] == ["# One", "# Two", None]
    assert [registry.cards.get("m", n).readme for n in (1, 2, 3)] == [True, True, False]
    registry.cards.change("m", {"text": "# Ours"}, who="ada")
    assert (registry.cards.get("m", 1).card.text, registry.cards.get("m", 1).readme) == ("# Ours", False)
    registry.cards.change("m", {"text": None}, who="ada")
    assert registry.cards.get("m", 1).card.text == "# One"


def test_a_readme_that_comes_later_with_the_same_files_is_kept(registry: Registry) -> None:
    registry.add("m", of="these")
    registry.add("m", of="these", readme="# About whales")
    assert registry.cards.get("m", 1).card.text == "# About whales"
    assert registry.listings.search(Wanted(text="whale")).versions[0].number == 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"task": "Two Words"}, "task"),
        ({"tags": ["ok", "Ö"]}, "tags"),
        ({"licence": "what ever!"}, "licence"),
        ({"licence": "MTI"}, "licence"),
        ({"paper": "javascript:alert(1)"}, "paper"),
        ({"homepage": "ftp://x"}, "homepage"),
        ({"colour": "red"}, "card"),
        ({"title": 3}, "card"),
        ({"metrics": [{"title": "t", "columns": ["a"], "rows": [[1, 2]]}]}, "metrics[0].rows[0]"),
        ({"text": "x" * 300_000}, "text"),
    ],
)
def test_what_no_card_says_is_refused_by_its_field(registry: Registry, given: dict, field: str) -> None:
    registry.add("m")
    with pytest.raises(InvalidInput) as told:
        registry.cards.change("m", given, who="ada")
    assert told.value.field == field
    assert registry.cards.get("m").card == Card()


def test_metrics_are_kept_as_tables(registry: Registry) -> None:
    registry.add("m")
    table = {"title": "GLUE", "columns": ["task", "score"], "rows": [["sst2", 0.93], ["cola", 0.51]]}
    card = registry.cards.change("m", {"metrics": [table]}, who="ada")
    rows = (("sst2", 0.93), ("cola", 0.51))
    assert card.metrics == (MetricsTable(title="GLUE", columns=("task", "score"), rows=rows),)


def test_figures_are_of_the_version_that_came_with_them(registry: Registry) -> None:
    for number, accuracy in enumerate((0.9, 0.5), 1):
        registry.add(
            "m",
            of=f"files {number}",
            card=Card(text="# M", metrics=(figures_table({"accuracy": accuracy}),)),
        )
    first, second = (registry.cards.get("m", number).card for number in (1, 2))
    assert (first.figures("m/1"), first.figures("m/2")) == ({"accuracy": 0.9}, {"accuracy": 0.5})
    assert [table.source for table in first.metrics] == ["m/1", "m/2"]  # its own first
    assert [table.source for table in second.metrics] == ["m/2", "m/1"]
    registry.add(
        "m", of="files 1", card=Card(metrics=(figures_table({"accuracy": 0.91}),))
    )  # measured again
    assert registry.cards.get("m", 1).card.figures("m/1") == {"accuracy": 0.91}


def test_figures_that_are_set_leave_those_of_other_versions(registry: Registry) -> None:
    for number in (1, 2):
        registry.add("m", card=Card(metrics=(figures_table({"accuracy": number / 10}),)))

    def change(*given: tuple[str, str]) -> list[tuple[str, str]]:
        tables = [{"title": title, "columns": ["a", "b"], "source": source} for title, source in given]
        return [
            (table.title, table.source)
            for table in registry.cards.change("m", {"metrics": tables}, who="ada").metrics
        ]

    first, second = ("Metrics", "m/1"), ("Metrics", "m/2")
    assert change(("GLUE", "")) == [("GLUE", ""), second, first]
    assert change(("again", ""), ("recall", "m/1")) == [("again", ""), second, ("recall", "m/1")]
    assert change(("paper", "https://a")) == [("paper", "https://a"), second, ("recall", "m/1")]
    assert change(first) == [("paper", "https://a"), second, first]  # of the model nothing was said
    assert registry.cards.change("m", {"title": "M"}, who="ada").metrics != ()
    assert change() == []  # said to be none


def test_figures_of_a_readme_come_with_it_once_and_behind_the_others(registry: Registry) -> None:
    def again(*metrics: MetricsTable, readme: str | None = None) -> list[str]:
        table = (MetricsTable(title="Results (README)", columns=("metric", "value"), rows=(("auc", 0.5),)),)
        registry.add(
            "m",
            of="files",
            card=Card(metrics=metrics),
            readme=readme,
            readme_metrics=table if readme else (),
        )
        return [each.title for each in registry.cards.get("m").card.metrics]

    pushed, other = figures_table({"auc": 0.9}), MetricsTable(title="GLUE", columns=("a", "b"))
    assert again(pushed) == ["Metrics"]
    assert again(readme="# M") == ["Metrics", "Results (README)"]
    assert again(other, readme="# M") == ["GLUE", "Metrics", "Results (README)"]
    assert registry.cards.get("m").card.figures("m/1") == {"auc": 0.9}
    given = {"title": "by hand", "columns": ["metric", "value"], "rows": [["auc", 0.7]], "source": "m/1"}
    registry.cards.change("m", {"metrics": [given]}, who="ada")
    assert again(readme="# M") == ["by hand"]  # what people set stays
    assert again(pushed, readme="# M") == ["Metrics", "by hand"]  # what was measured again comes first
    registry.cards.change("m", {"metrics": []}, who="ada")
    assert again(readme="# M") == []


def test_figures_are_not_set_of_a_version_that_there_is_not(registry: Registry) -> None:
    registry.add("m", card=Card(metrics=(figures_table({"accuracy": 0.9}),)))
    given = [{"title": "t", "columns": ["a"]}, {"title": "t", "columns": ["a"], "source": "m/2"}]
    with pytest.raises(InvalidInput, match="has no version 2") as told:
        registry.cards.change("m", {"metrics": given}, who="ada")
    assert told.value.field == "metrics[1].source"
    assert registry.cards.get("m").card.figures("m/1") == {"accuracy": 0.9}


def test_of_very_many_figures_the_newest_are_read_and_none_is_lost(registry: Registry) -> None:
    for number in range(53):
        registry.add("m", card=Card(metrics=(figures_table({"accuracy": number / 100}),)))
    card = registry.cards.change("m", {"metrics": [{"title": "GLUE", "columns": ["a"]}]}, who="ada")
    assert (len(card.metrics), card.metrics[0].title) == (50, "GLUE")
    assert card.figures("m/53") == {"accuracy": 0.52} and card.figures("m/1") == {}
    first = registry.cards.get("m", 1).card
    assert (len(first.metrics), first.figures("m/1")) == (50, {"accuracy": 0.0})


def test_figures_cost_the_same_however_many_versions_there_are(registry: Registry) -> None:
    statements: list[str] = []

    def count(*told: Any) -> None:
        statements.append(told[2])

    def asked(number: int) -> int:
        statements.clear()
        registry.add("m", card=Card(title="M", metrics=(figures_table({"accuracy": number / 100}),)))
        return len(statements)

    asked(0)
    event.listen(Engine, "before_cursor_execute", count)
    try:
        first, *_, last = map(asked, range(1, 12))
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert 0 < first == last
    assert len(registry.listings.search(Wanted(all_versions=True), 100).versions) == 12


@pytest.mark.parametrize("figures", [{"a": "good"}, {"a": None}, {"a": [1]}, {"a": float("nan")}])
def test_a_figure_that_is_no_number_is_named(figures: dict) -> None:
    with pytest.raises(InvalidInput, match=r"The figure 'a' is .* which is no number"):
        figures_table(figures)


def test_a_model_that_is_not_there_has_no_card(registry: Registry) -> None:
    with pytest.raises(NotFound):
        registry.cards.get("m")
    with pytest.raises(NotFound):
        registry.cards.change("m", {}, who="ada")
