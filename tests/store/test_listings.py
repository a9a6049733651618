"""Search: what is found is what is there, and pages stay stable while things change."""

import itertools
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from bench.models import registry as large
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select, text

from modelyard.core.card import Card
from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.listing import BY_METRIC, SORTS, Wanted
from modelyard.core.metrics import figures_table
from modelyard.store import conditions, tables
from modelyard.store.database import Database
from modelyard.store.listings import Listings
from support.registry import Clock, Registry


def names(registry: Registry, limit: int = 50, **wanted: object) -> list[str]:
    page = registry.listings.search(Wanted(**wanted), limit)  # type: ignore[arg-type]
    return [f"{each.model}/{each.number}" for each in page.versions]


@pytest.fixture
def shelf(registry: Registry) -> Registry:
    """Four models, one of them with two versions."""
    registry.add(
        "esm2-8m", size=31_000_000, parameters=7_500_000, format="transformers",
        details={"architecture": "EsmForMaskedLM, EsmModel", "precision": "float32 99%, int64 1%"},
        card=Card(category="protein-language-model", task="fill-mask", licence="MIT", tags=("esm", "embedding")),
        readme="Embeddings of protein sequences, by Évolutionary Scale",
    )  # fmt: skip
    registry.add("fraud", size=1000, parameters=10, details={"precision": "F16"})
    registry.add("fraud", size=2000, parameters=20, details={"precision": "float32"})
    registry.add("chat", size=5_000_000_000, parameters=7_000_000_000, format="GGUF", details={"precision": "Q4_K_M"},
                 card=Card(licence="CC-BY-NC-4.0", task="text-generation"))  # fmt: skip
    registry.add("rules", size=10, format="function")
    return registry


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["rules/1", "chat/1", "fraud/2", "esm2-8m/1"]),
        ({"sort": "oldest"}, ["esm2-8m/1", "fraud/2", "chat/1", "rules/1"]),
        ({"sort": "name"}, ["chat/1", "esm2-8m/1", "fraud/2", "rules/1"]),
        ({"sort": "-size"}, ["chat/1", "esm2-8m/1", "fraud/2", "rules/1"]),
        ({"sort": "parameters", "min_parameters": 0}, ["fraud/2", "esm2-8m/1", "chat/1"]),
        ({"all_versions": True, "name": "fraud"}, ["fraud/2", "fraud/1"]),
        ({"name": "esm*"}, ["esm2-8m/1"]),
        ({"name": "esm"}, []),
        ({"format": "GGUF"}, ["chat/1"]),
        ({"architecture": "EsmForMaskedLM"}, ["esm2-8m/1"]),
        ({"precision": "float32"}, ["fraud/2", "esm2-8m/1"]),
        ({"precision": "float16", "all_versions": True}, ["fraud/1"]),
        ({"licence": "mit"}, ["esm2-8m/1"]),
        ({"commercial": True}, ["esm2-8m/1"]),
        ({"commercial": False}, ["chat/1"]),
        ({"task": "fill-mask"}, ["esm2-8m/1"]),
        ({"category": "protein-language-model"}, ["esm2-8m/1"]),
        ({"tags": ("esm", "embedding")}, ["esm2-8m/1"]),
        ({"tags": ("esm", "other")}, []),
        ({"min_size": 1001, "max_size": 31_000_000}, ["fraud/2", "esm2-8m/1"]),
        ({"max_parameters": 7_500_000}, ["fraud/2", "esm2-8m/1"]),  # that of rules is not known
        ({"text": "protein embed"}, ["esm2-8m/1"]),
        ({"text": "EVOLUTIONARY"}, ["esm2-8m/1"]),
        ({"text": "esm2"}, ["esm2-8m/1"]),
        ({"text": "protein chat"}, []),
        ({"text": "  ...  "}, ["rules/1", "chat/1", "fraud/2", "esm2-8m/1"]),
        ({"text": "quo\"te' OR NOT ( * : -"}, []),
    ],
)
def test_it_finds_what_is_all_of_it(shelf: Registry, wanted: dict, found: list[str]) -> None:
    assert names(shelf, **wanted) == found


def test_a_listing_says_what_a_reader_wants_to_know(shelf: Registry) -> None:
    shelf.aliases.move("esm2-8m", "production", 1, who="ada")
    shelf.endpoints.deploy("proteins", "esm2-8m", 1, DeploymentSettings(), None)
    shelf.retirement.deprecate("esm2-8m", 1, who="ada", why="there is a larger one")
    (found,) = shelf.listings.search(Wanted(name="esm2-8m")).versions
    assert (found.precision, found.architecture, found.parameters) == (
        "float32",
        "EsmForMaskedLM",
        7_500_000,
    )
    assert (found.aliases, found.endpoints, found.tags) == (
        ("production",),
        ("proteins",),
        ("embedding", "esm"),
    )
    assert found.deprecated is not None
    assert found.deprecated.why == "there is a larger one"


def test_by_status(shelf: Registry) -> None:
    shelf.endpoints.deploy("shop", "fraud", 1, DeploymentSettings(), None)
    shelf.retirement.deprecate("fraud", 1, who="ada", why="old")
    shelf.retirement.deprecate("chat", 1, who="ada", why="old")
    shelf.retirement.delete("rules", 1, grace=10, who="ada")
    assert names(shelf, status="deployed") == ["fraud/1"]
    assert names(shelf, status="deprecated") == ["chat/1", "fraud/1"]
    assert names(shelf, status="deleted") == ["rules/1"]
    assert names(shelf, status="usable") == ["fraud/2", "esm2-8m/1"]
    assert names(shelf) == ["chat/1", "fraud/2", "esm2-8m/1"]


def test_by_alias(shelf: Registry) -> None:
    shelf.aliases.move("fraud", "production", 1, who="ada")
    shelf.aliases.move("chat", "production", 1, who="ada")
    assert names(shelf, alias="production") == ["chat/1", "fraud/1"]


def test_deleting_the_latest_makes_the_one_before_the_latest(shelf: Registry) -> None:
    shelf.retirement.delete("fraud", 2, grace=10, who="ada")
    assert names(shelf, name="fraud") == ["fraud/1"]
    shelf.retirement.restore("fraud", 2, who="ada")
    assert names(shelf, name="fraud") == ["fraud/2"]


def test_a_changed_card_is_found_by_its_new_words_alone(shelf: Registry) -> None:
    shelf.cards.change("fraud", {"summary": "credit cards", "tags": ["bank"]}, who="ada")
    assert names(shelf, text="credit", all_versions=True) == ["fraud/2", "fraud/1"]
    assert names(shelf, tags=("bank",)) == ["fraud/2"]
    shelf.cards.change("fraud", {"summary": "loans", "tags": []}, who="ada")
    assert names(shelf, text="credit") == names(shelf, tags=("bank",)) == []


def test_what_is_gone_is_not_found(shelf: Registry, clock: Clock) -> None:
    shelf.retirement.delete("rules", 1, grace=0, who="ada")
    shelf.retirement.collect(clock.now)
    shelf.versions.delete_model("esm2-8m")
    assert names(shelf, text="protein") == names(shelf, name="rules", status="deleted") == []
    with shelf.database.session() as session:
        assert session.execute(text("SELECT count(*) FROM listings_words")).scalar() == 3


def _measured(auc: float) -> Card:
    return Card(metrics=(figures_table({"auc": auc}),))


@pytest.mark.parametrize("sort", SORTS)
def test_pages_stay_stable_under_inserts_and_deletions(shelf: Registry, sort: str) -> None:
    for number in range(40):
        shelf.add(
            f"m{number % 7}", size=number % 3, parameters=number % 5 or None, card=_measured(number % 4)
        )
    metrics = ("auc",) if sort in BY_METRIC else ()
    wanted = Wanted(all_versions=True, sort=sort, metrics=metrics)  # type: ignore[arg-type]
    before = names(shelf, 200, all_versions=True, sort=sort, metrics=metrics)
    seen: list[str] = []
    gone: set[str] = set()
    cursor = None
    while True:
        page = shelf.listings.search(wanted, 4, cursor)
        seen += [f"{each.model}/{each.number}" for each in page.versions]
        cursor = page.next
        if cursor is None:
            break
        first = page.versions[0]
        shelf.retirement.delete(first.model, first.number, grace=0, who="ada")
        shelf.retirement.collect(shelf.clock.now)
        gone.add(f"{first.model}/{first.number}")
        shelf.add("m3", size=1, parameters=2, card=_measured(2))
        shelf.add("aaa")
    assert len(seen) == len(set(seen))
    assert [each for each in seen if each in before] == [each for each in before if each in seen]
    assert set(before) - gone <= set(seen)


def test_a_cursor_is_of_its_own_search(shelf: Registry) -> None:
    cursor = shelf.listings.search(Wanted(), 1).next
    assert cursor is not None
    for wanted, wrong in (
        (Wanted(sort="name"), cursor),
        (Wanted(format="onnx"), cursor),
        (Wanted(), "rubbish!"),
        (Wanted(), "W10"),
        (Wanted(), "é"),
        (Wanted(), ""),
    ):
        with pytest.raises(InvalidInput) as told:
            shelf.listings.search(wanted, 1, wrong)
        assert told.value.field == "cursor"


@pytest.mark.parametrize("limit", [0, 201, -1])
def test_a_page_has_its_bounds(shelf: Registry, limit: int) -> None:
    with pytest.raises(InvalidInput):
        shelf.listings.search(Wanted(), limit)


def test_a_star_in_the_middle_is_refused(shelf: Registry) -> None:
    with pytest.raises(InvalidInput):
        shelf.listings.search(Wanted(name="f*d"))


def everything(database: Database) -> dict[str, list[tuple]]:
    with database.session() as session:
        listed = session.execute(select(tables.listings).order_by(tables.listings.c.version_id)).all()
        words = session.execute(text("SELECT rowid, words FROM listings_words ORDER BY rowid")).all()
    return {"listings": [tuple(row) for row in listed], "words": [tuple(row) for row in words]}


class ListingsMachine(RuleBasedStateMachine):
    """Whatever is done in any order: the listings are those that would be made anew."""

    models = st.sampled_from(["m", "n"])
    numbers = st.integers(1, 4)

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.database = Database(self.folder / "modelyard.db")
        self.database.migrate()
        self.registry = Registry(self.database, Clock())

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)

    @rule(model=models, of=st.sampled_from("abcd"), licence=st.sampled_from([None, "MIT"]))
    def add(self, model: str, of: str, licence: str | None) -> None:
        self.registry.add(model, of=of, card=Card(licence=licence), readme=f"readme {of}")

    @rule(model=models, number=numbers)
    def delete(self, model: str, number: int) -> None:
        self._try(lambda: self.registry.retirement.delete(model, number, grace=10, who="ada"))

    @rule(model=models, number=numbers)
    def restore(self, model: str, number: int) -> None:
        self._try(lambda: self.registry.retirement.restore(model, number, who="ada"))

    @rule(model=models, number=numbers)
    def deprecate(self, model: str, number: int) -> None:
        self._try(lambda: self.registry.retirement.deprecate(model, number, who="ada", why="old"))

    @rule(model=models, task=st.sampled_from([None, "one", "two"]), text=st.sampled_from([None, "words"]))
    def card(self, model: str, task: str | None, text: str | None) -> None:
        self._try(lambda: self.registry.cards.change(model, {"task": task, "text": text}, who="ada"))

    @rule()
    def collect(self) -> None:
        self.registry.clock.now += 11
        self.registry.retirement.collect(self.registry.clock.now)

    @rule(model=models)
    def delete_model(self, model: str) -> None:
        self._try(lambda: self.registry.versions.delete_model(model))

    @staticmethod
    def _try(call: object) -> None:
        try:
            call()  # type: ignore[operator]
        except (NotFound, Conflict):
            return

    @invariant()
    def listings_are_what_they_would_be_if_made_anew(self) -> None:
        found = everything(self.database)
        assert self.registry.listings.rebuild() == len(found["listings"])
        assert everything(self.database) == found
        for model in self.registry.versions.models():
            latest = [row for row in found["listings"] if row[2] == model.name and row[4]]
            assert [row[3] for row in latest] == ([model.latest] if model.latest else [])


TestListingsMachine = ListingsMachine.TestCase
TestListingsMachine.settings = settings(
    max_examples=8, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_every_plan_finds_the_same(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a search is carried out depends on a sample; what it finds does not."""
    vocabulary = large.fill(database, 2500)
    found = Listings(database)
    ways = (
        (False,) if database.is_shared else (False, True)
    )  # PostgreSQL chooses by itself, but for figures
    plans = [conditions._Plan(*plan) for plan in itertools.product(ways, ways, (False, True))]
    chosen: set[conditions._Plan] = set()
    choose = conditions._plan
    for kind, wanted in large.searches(random.Random(3), vocabulary, 1):
        with database.session() as session:
            chosen.add(choose(session, wanted, conditions._bounds(wanted)))
        pages = []
        for plan in plans:
            monkeypatch.setattr(conditions, "_plan", lambda *_, plan=plan: plan)
            first = found.search(wanted, 30)
            second = found.search(wanted, 30, first.next) if first.next else None
            pages.append((first, second))
        assert all(page == pages[0] for page in pages), kind
    assert len(chosen) == 2 if database.is_shared else len(chosen) >= 4  # the sample does choose
