"""What a search is told that asks for what no version has."""

import pytest
from sqlalchemy import update

from modelyard.core.card import Card
from modelyard.core.listing import Wanted
from modelyard.core.metrics import MetricsTable, figures_table
from modelyard.store import tables
from modelyard.store.hints import nearest
from support.registry import Registry


def hinted(registry: Registry, **wanted: object) -> list[tuple[str, str, tuple[str, ...]]]:
    page = registry.listings.search(Wanted(**wanted))  # type: ignore[arg-type]
    assert page.versions == ()
    return [(each.field, each.value, each.there) for each in page.hints]


@pytest.fixture
def shelf(registry: Registry) -> Registry:
    registry.add("iris", format="sklearn-skops", card=Card(task="tabular-classification", licence="MIT"))
    registry.add("chat", format="GGUF", details={"precision": "F16"}, card=Card(licence="Apache-2.0"))
    registry.add("proteins", details={"architecture": "EsmForMaskedLM"}, card=Card(category="embedding"))
    return registry


@pytest.mark.parametrize(
    ("field", "value", "there"),
    [
        ("format", "sklearn", ("sklearn-skops",)),
        ("format", "gguf", ("GGUF",)),
        ("format", "zzz", ("GGUF", "onnx", "sklearn-skops")),  # nothing is like it: what there is
        ("task", "tabular-clasification", ("tabular-classification",)),
        ("category", "Embeddings", ("embedding",)),
        ("precision", "fp16", ("float16",)),
        ("licence", "apache", ("Apache-2.0",)),
        ("architecture", "esm", ("EsmForMaskedLM",)),
    ],
)
def test_a_value_that_is_nowhere_is_told_with_those_like_it(
    shelf: Registry, field: str, value: str, there: tuple[str, ...]
) -> None:
    ((told, meant, found),) = hinted(shelf, **{field: value})
    assert (told, meant, tuple(sorted(found))) == (field, value, there)


def test_each_wrong_value_is_told_and_no_right_one(shelf: Registry) -> None:
    told = hinted(shelf, format="sklearn", licence="MIT", task="tabular")
    assert told == [
        ("task", "tabular", ("tabular-classification",)),
        ("format", "sklearn", ("sklearn-skops",)),
    ]


def test_tags_and_aliases_are_values_too(shelf: Registry) -> None:
    shelf.add("tumour", card=Card(tags=("medicine", "tabular")))
    for model in ("tumour", "iris"):
        shelf.aliases.move(model, "production", 1, who="ada")
    assert hinted(shelf, tags=("tabular", "medecine")) == [("tag", "medecine", ("medicine",))]
    assert hinted(shelf, alias="prod") == [("alias", "prod", ("production",))]
    assert hinted(shelf, alias="production", tags=("zzz",)) == [("tag", "zzz", ("medicine", "tabular"))]
    with shelf.database.begin() as session:
        secret = update(tables.models).where(tables.models.c.name == "tumour").values(project="secret")
        session.execute(secret)
    assert hinted(shelf, tags=("medecine",), alias="prod", project="default") == [
        ("alias", "prod", ("production",))
    ]


def test_an_answer_of_nothing_to_right_values_is_nothing(shelf: Registry) -> None:
    assert hinted(shelf, format="GGUF", licence="mit") == []
    assert hinted(shelf, text="nowhere") == []


def test_a_value_of_an_older_version_is_one(shelf: Registry) -> None:
    shelf.add("iris", format="onnx")
    assert hinted(shelf, format="sklearn-skops") == []


def test_an_empty_registry_and_a_later_page_hint_at_nothing(registry: Registry) -> None:
    assert hinted(registry, format="sklearn") == []
    registry.add("a")
    registry.add("b")
    cursor = registry.listings.search(Wanted(format="onnx"), 1).next
    registry.versions.delete_model("a")
    registry.add("c", format="GGUF")
    assert registry.listings.search(Wanted(format="onnx"), 1, cursor).hints == ()


def test_what_is_deleted_is_hinted_at_among_the_deleted_alone(shelf: Registry) -> None:
    shelf.retirement.delete("iris", 1, grace=10, who="ada")
    assert [there for _, _, there in hinted(shelf, format="sklearn")] == [("GGUF", "onnx")]
    assert [there for _, _, there in hinted(shelf, format="sklearn", status="deleted")] == [
        ("sklearn-skops",)
    ]


def test_nothing_of_another_project_is_told(shelf: Registry) -> None:
    with shelf.database.begin() as session:
        session.execute(
            update(tables.models).where(tables.models.c.name == "iris").values(project="secret")
        )
    assert hinted(shelf, format="sklearn", project="secret") == [("format", "sklearn", ("sklearn-skops",))]
    assert hinted(shelf, format="sklearn-skops", project="default") == [
        ("format", "sklearn-skops", ("GGUF", "onnx"))
    ]


def test_five_are_told_the_same_word_first() -> None:
    values = ["b-onnx", *(f"onnx-{number}" for number in range(9)), "ONNX"]
    assert nearest("onnx", values) == ("ONNX", "b-onnx", "onnx-0", "onnx-1", "onnx-2")
    assert nearest("zzz", values) == tuple(values[:5])


def test_of_a_figure_the_nearest_is_told(shelf: Registry) -> None:
    assert hinted(shelf, metrics=("auc",)) == []  # nothing was measured at all
    for auc in (0.7, 0.9):
        shelf.add("fraud", card=Card(metrics=(figures_table({"auc": auc, "loss": 1 - auc}),)))
    shelf.add(
        "bert",
        card=Card(
            metrics=(MetricsTable(title="t", columns=("data", "f1", "n"), rows=(("mnli", 0.5, 9),)),)
        ),
    )

    def hint(bound: str, **wanted: object) -> list[tuple[str, ...]]:
        return [there for _, _, there in hinted(shelf, metrics=(bound,), **wanted)]

    assert hint("auc>=0.95") == hint("auc>2") == [("auc=0.9",)]
    assert hint("auc<0.1") == [("auc=0.7",)]
    assert hint("auc=0.8") == [("auc=0.7", "auc=0.9")]
    assert hint("acu>0.5") == [("auc>0.5",)]
    assert hint("f1[mnil]>0.1") == [("f1[mnli]>0.1",)]
    assert hint("f1[mnli]>0.6") == [("f1[mnli]=0.5",)]
    assert hint("auc>=0.9", format="GGUF") == []  # some have it
    assert hint("auc>=0.95", project="other") == []  # others' are not told
