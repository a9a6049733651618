"""Figures: read out of tables, and what is asked of them."""

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.core.figure import Bound, Figure, figure_key, figures_of, parse_bound, tradeoff_figures
from modelyard.core.metrics import MetricsTable


def table(columns: tuple[str, ...], *rows: tuple[str | int | float | None, ...]) -> MetricsTable:
    return MetricsTable(title="t", columns=columns, rows=rows)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (table(("metric", "value"), ("auc", 0.9), ("note", "good"), ("n", 7)), ["auc 0.9", "n 7"]),
        (table(("a", "b"), ("recall@10", 0.5)), ["recall@10 0.5"]),
        (
            table(
                ("task", "data", "metric", "value"),
                ("ner", "conll", "f1", 0.8),
                ("ner", "", "f1", 0.7),
                ("x", "y", "z", "-"),
            ),
            ["f1[conll] 0.8", "f1 0.7"],
        ),
        (table(("Score", "Metric", "n"), (0.5, "EM", 3)), ["EM 0.5"]),
        (
            table(("data", "accuracy", "f1"), ("mnli", 0.8, None), ("sst2", 0.9, 0.7)),
            ["accuracy[mnli] 0.8", "accuracy[sst2] 0.9", "f1[sst2] 0.7"],
        ),
        (table(("accuracy", "f1", "loss"), (0.8, 0.7, 0.1)), ["accuracy 0.8", "f1 0.7", "loss 0.1"]),
        (table(("metric", "value"), ("AUC", 0.9), ("auc", 0.1)), ["AUC 0.9"]),  # the first counts
        (table(("metric", "value"), ("!", 1), ("big", 10**400), ("", 1)), []),
        (table(("only",), ("x",), (3,)), ["only 3"]),
    ],
)
def test_the_numbers_of_a_table_have_names(given: MetricsTable, told: list[str]) -> None:
    assert [f"{each.told} {each.value:g}" for each in figures_of([given])] == told


def test_there_are_at_most_a_thousand() -> None:
    many = table(("metric", "value"), *((f"m{number}", number) for number in range(1500)))
    assert len(figures_of([many, many])) == 1000


def test_a_tradeoff_tells_of_the_version_itself() -> None:
    told = {
        "ms": [12, 4],
        "auc": 0.9,
        "size": ["big", "small"],
        "many": [1, 2, 3],
        "?": 1,
        "on": True,
        "none": [],
    }
    assert tradeoff_figures(told) == (Figure(name="ms", value=4.0), Figure(name="auc", value=0.9))
    assert tradeoff_figures(None) == ()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ROC AUC", "roc_auc"), ("roc-auc", "roc_auc"), (" Latency (ms) ", "latency_ms"), ("recall@10", "recall@10"),
        ("Genauigkeit", "genauigkeit"), ("精度", "精度"), ("!?", ""), ("a\0b", "a_b"), ("x" * 300, "x" * 100), ("top-1 %", "top_1_%"),
    ],
)  # fmt: skip
def test_names_are_compared_by_their_keys(text: str, key: str) -> None:
    assert figure_key(text) == key == figure_key(key)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("auc>=0.9", Bound(name="auc", comparison=">=", value=0.9)),
        (" ROC AUC < 1e-3 ", Bound(name="roc_auc", comparison="<", value=1e-3)),
        ("accuracy[MNLI (m)] > .8", Bound(name="accuracy", data="mnli_m", comparison=">", value=0.8)),
        ("auc==1", Bound(name="auc", comparison="=", value=1)),
        ("auc = -1", Bound(name="auc", comparison="=", value=-1)),
        ("recall@10<=5", Bound(name="recall@10", comparison="<=", value=5)),
        ("auc", Bound(name="auc")),
        ("auc[mnli]", Bound(name="auc", data="mnli")),
    ],
)
def test_a_bound_is_read_as_people_write_it(text: str, bound: Bound) -> None:
    assert parse_bound(text) == bound
    assert parse_bound(bound.told) == bound


@pytest.mark.parametrize(
    "text",
    ["", " ", ">=0.9", "auc>=", "auc>=x", "auc>=nan", "auc<inf", "auc=>1", "auc>=0.9>1", "auc[", "auc[]>1", "!>1", "auc]x>1",
     "auc>1 2", "x" * 501, "a[?]", "auc>=90%"],
)  # fmt: skip
def test_what_is_no_bound_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as told:
        parse_bound(text)
    assert told.value.field == "metric"
    assert "write" in told.value.message


@pytest.mark.parametrize(
    ("bound", "value", "holds"),
    [("auc>=1", 1, True), ("auc>1", 1, False), ("auc<=1", 1, True), ("auc<1", 1, False), ("auc=1", 1, True), ("auc=1", 2, False),
     ("auc", 5, True), ("auc[x]", 5, False), ("f1", 5, False)],
)  # fmt: skip
def test_a_bound_holds_for_what_is_within_it(bound: str, value: float, holds: bool) -> None:
    assert parse_bound(bound).holds("auc", "", value) is holds
