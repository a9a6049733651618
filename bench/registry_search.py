"""How long does it take to find something among 100,000 versions?

A database of 20,000 models with 1 to 9 versions each: names, cards of the catalog's categories, sizes and parameters
over nine decades, READMEs of 200 words out of 5,000 (after Zipf, so that some words are in nearly all of them). Then 28
kinds of searches, each with other values every time: the first page, a page in the middle, and what finds nothing. Each
is the whole of `Listings.search`: 50 versions with their aliases, marks and endpoints. The same beside a writer that adds
versions and moves aliases without a pause.
"""

import hashlib
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, text

from bench.plan import Plan
from bench.results import Table, Verdict, at_most
from bench.statistics import median
from modelyard.core.card import Card
from modelyard.core.listing import SORTS, Wanted, facts_of
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.store import tables as rows_of
from modelyard.store.aliases import Aliases
from modelyard.store.database import Database
from modelyard.store.listings import Listings, relist
from modelyard.store.nouns import pack
from modelyard.store.versions import Versions
from modelyard.store.words import words_of

ONCE = True
VERSIONS = 100_000
_CATEGORIES = [
    "protein-language-model", "protein-structure", "docking", "small-molecule", "text-embedding", "text-generation",
    "translation", "image-classification", "speech-recognition", "tabular", "time-series", "antibody",
]  # fmt: skip
_TASKS = [
    "feature-extraction",
    "text-generation",
    "image-classification",
    "regression",
    "fill-mask",
    "docking",
]
_FORMATS = [
    ("onnx", 40),
    ("transformers", 30),
    ("sklearn", 15),
    ("GGUF", 10),
    ("xgboost", 4),
    ("tflite", 1),
]
_LICENCES = [("MIT", 40), ("Apache-2.0", 40), ("CC-BY-NC-4.0", 15), ("LicenseRef-Own", 4), ("CC0-1.0", 1)]
_PRECISIONS = ["float32", "float16", "bfloat16", "int8", "Q4_K_M"]
_ARCHITECTURES = ["BertModel", "EsmModel", "LlamaForCausalLM", "ViTForImageClassification", "T5Model"]


def seconds(plan: Plan) -> float:
    return 20 if plan.quick else 120


def measure(plan: Plan) -> dict[str, Any]:
    versions = 5_000 if plan.quick else VERSIONS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "modelyard.db"
        database = Database(path)
        database.migrate()
        started = time.perf_counter()
        words = fill(database, versions)
        filled = time.perf_counter() - started
        asked = [*_searches(random.Random(1), words, plan.count(20, 3))]
        alone = _ask(database, asked)
        beside, written = _beside_a_writer(database, asked)
        result = {
            "versions": versions,
            "bytes": path.stat().st_size,
            "filled": filled,
            "alone": alone,
            "beside": beside,
            "written": written,
        }
        database.close()
    return result


def fill(database: Database, versions: int, seed: int = 1) -> list[str]:
    """Write models with ``versions`` versions in all, as the registry would; the words of their READMEs, the most
    frequent first."""
    chance = random.Random(seed)
    vocabulary = [
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(4, 9))) for _ in range(5000)
    ]
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("models", "cards", "tags", "versions", "listings", "words")
    }
    id = model_id = 0
    while id < versions:
        model_id += 1
        count = min(1 + model_id % 9, versions - id)
        name = f"{chance.choice(vocabulary)}-{chance.choice(vocabulary)}-{model_id}"
        licence = _of(chance, _LICENCES)
        card = Card(
            title=f"{name} model", category=chance.choice(_CATEGORIES), task=chance.choice(_TASKS), licence=licence,
            commercial=None if licence.startswith("LicenseRef") else "NC" not in licence,
            tags=tuple(sorted({chance.choice(vocabulary[:50]) for _ in range(3)})),
            text=" ".join(chance.choices(vocabulary, weights, k=200)),
        )  # fmt: skip
        rows["models"].append({"id": model_id, "name": name, "created": 1.0, "last": count})
        rows["cards"].append(
            {"model_id": model_id, "card_json": pack(card), "changed": 1.0, "who": "bench"}
        )
        rows["tags"] += [{"model_id": model_id, "tag": tag} for tag in card.tags]
        for number in range(1, count + 1):
            id += 1
            _version(chance, rows, id, model_id, name, number, count, card)
    with database.begin() as session:
        into = {
            "models": rows_of.models,
            "cards": rows_of.cards,
            "tags": rows_of.card_tags,
            "versions": rows_of.versions,
            "listings": rows_of.listings,
        }
        for name, table in into.items():
            for start in range(0, len(rows[name]), 5000):
                session.execute(insert(table), rows[name][start : start + 5000])
        put = "INSERT INTO listings_words (rowid, words) VALUES (:id, :words)"
        if session.dialect.name == "postgresql":
            put = (
                "INSERT INTO listings_words (version_id, words) VALUES (:id, to_tsvector('simple', :words))"
            )
        for start in range(0, len(rows["words"]), 5000):
            session.execute(text(put), rows["words"][start : start + 5000])
    _check(database, chance, versions)
    return vocabulary


def _version(
    chance: random.Random, rows: dict[str, list[dict[str, Any]]], id: int, model_id: int, name: str, number: int,
    count: int, card: Card,
) -> None:  # fmt: skip
    details = {
        "architecture": chance.choice(_ARCHITECTURES),
        "precision": chance.choice(_PRECISIONS),
        "producer": "pytorch 2.4",
    }
    form = _of(chance, _FORMATS)
    parameters = None if chance.random() < 0.2 else round(10 ** chance.uniform(2, 11))
    analysis = Analysis(
        format=form, adapter=form, parameters=parameters, details=details, requirements=("numpy>=1.26,<3",)
    )
    files = [
        FileEntry(
            path=f"file{each}.bin",
            size=round(10 ** chance.uniform(2, 10)),
            sha256=hashlib.sha256(f"{id} {each}".encode()).hexdigest(),
        )
        for each in range(1 + id % 6)
    ]
    manifest = Manifest(files=tuple(files))
    facts = facts_of(analysis)
    rows["versions"].append(
        {
            "id": id, "model_id": model_id, "number": number, "digest": manifest.digest, "manifest_json": pack(manifest),
            "analysis_json": pack(analysis), "trusted": False, "created": 1.0 + id,
        }
    )  # fmt: skip
    rows["listings"].append(
        {
            "version_id": id, "model_id": model_id, "model": name, "number": number, "latest": number == count,
            "deprecated": False, "deleted": False, "quarantined": False, "format": form, "adapter": form, "size": manifest.size,
            "parameters": -1 if parameters is None else parameters, "precision": facts.precision,
            "architecture": facts.architecture, "task": card.task, "category": card.category, "licence": card.licence,
            "commercial": card.commercial,
        }
    )  # fmt: skip
    told = (name, card.title, card.summary, card.task, card.category, card.licence, facts.architecture, form, form,
            facts.precision, *card.tags, card.text)  # fmt: skip
    rows["words"].append(
        {"id": id, "words": " ".join(dict.fromkeys(words_of(" ".join(each for each in told if each))))}
    )


def _check(database: Database, chance: random.Random, versions: int) -> None:
    """What was written at once is what the registry itself would have written."""
    ids = chance.sample(range(1, versions + 1), 20)
    of_sample = (
        select(rows_of.listings)
        .where(rows_of.listings.c.version_id.in_(ids))
        .order_by(rows_of.listings.c.version_id)
    )
    with database.begin() as session:
        before = session.execute(of_sample).all()
        for id in ids:
            relist(session, id)
        assert session.execute(of_sample).all() == before


def _of(chance: random.Random, weighted: list[tuple[str, int]]) -> str:
    return chance.choices([name for name, _ in weighted], [weight for _, weight in weighted])[0]


def _searches(chance: random.Random, words: list[str], times: int):
    """Kinds of searches, with values drawn anew each time."""
    pick = chance.choice
    kinds: dict[str, Callable[[], Wanted]] = {
        "newest": Wanted,
        "every version, newest": lambda: Wanted(all_versions=True),
        **{f"in the order of {sort}": lambda sort=sort: Wanted(sort=sort) for sort in SORTS[2:]},
        "every version by size": lambda: Wanted(all_versions=True, sort="-size"),
        "a name": lambda: Wanted(name=f"{pick(words)}-{pick(words)}-{chance.randint(1, 20_000)}"),
        "the beginning of a name": lambda: Wanted(name=f"{pick(words)[:3]}*", sort="name"),
        "a category": lambda: Wanted(category=pick(_CATEGORIES)),
        "a category by size": lambda: Wanted(category=pick(_CATEGORIES), sort="-size"),
        "a frequent licence by size": lambda: Wanted(licence="MIT", all_versions=True, sort="size"),
        "a rare licence by name": lambda: Wanted(licence="CC0-1.0", all_versions=True, sort="name"),
        "what is nowhere": lambda: Wanted(category="nowhere", all_versions=True, sort="size"),
        "format and precision": lambda: Wanted(format=pick(_FORMATS)[0], precision=pick(_PRECISIONS).lower()),
        "commercial, small, by parameters": lambda: Wanted(commercial=True, max_parameters=10**7, sort="parameters"),
        "a range of sizes": lambda: Wanted(min_size=10**4, max_size=10**5, all_versions=True),
        "a narrow range that holds nothing": lambda: Wanted(min_size=1, max_size=2, sort="name"),
        "architecture and task": lambda: Wanted(architecture=pick(_ARCHITECTURES), task=pick(_TASKS)),
        "two tags": lambda: Wanted(tags=(pick(words[:50]), pick(words[:50]))),
        "a tag by name": lambda: Wanted(tags=(pick(words[:50]),), sort="name", all_versions=True),
        "a frequent word": lambda: Wanted(text=words[chance.randint(0, 5)]),
        "a frequent word by name": lambda: Wanted(text=words[chance.randint(0, 5)], sort="name", all_versions=True),
        "the beginning of words": lambda: Wanted(text=f"{pick(words)[:3]} {pick(words)[:2]}"),
        "a rare word by size": lambda: Wanted(text=words[chance.randint(3000, 4999)], sort="size"),
        "two words and a category": lambda: Wanted(text=f"{words[3]} {pick(words[:200])}", category=pick(_CATEGORIES)),
        "deployed": lambda: Wanted(status="deployed"),
        "deprecated": lambda: Wanted(status="deprecated"),
    }  # fmt: skip
    for _ in range(times):
        for kind, make in kinds.items():
            yield kind, make()


def _ask(database: Database, asked: list[tuple[str, Wanted]]) -> dict[str, Any]:
    """Milliseconds of each search's first page and of the one behind it, by kind."""
    listings = Listings(database)
    listings.search(Wanted())
    taken: dict[str, list[float]] = {}
    computed: list[float] = []
    for kind, wanted in asked:
        cursor: str | None = None
        for _ in range(2):
            started, before = time.perf_counter(), time.thread_time()
            page = listings.search(wanted, 50, cursor)
            computed.append(1e3 * (time.thread_time() - before))
            taken.setdefault(kind, []).append(1e3 * (time.perf_counter() - started))
            cursor = page.next
            if cursor is None:
                break
    every = sorted(value for values in taken.values() for value in values)
    return {
        "count": len(every),
        "p50": median(every),
        "p95": _quantile(every, 0.95),
        "p99": _quantile(every, 0.99),
        "longest": every[-1],
        "processor": _quantile(sorted(computed), 0.95),
        "kinds": {kind: {"p50": median(values), "p95": _quantile(sorted(values), 0.95)} for kind, values in taken.items()},
    }  # fmt: skip


def _beside_a_writer(database: Database, asked: list[tuple[str, Wanted]]) -> tuple[dict[str, Any], float]:
    """The same while another thread writes; and how many writes a second that was."""
    versions, aliases = Versions(database), Aliases(database)
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        analysis = Analysis(format="onnx", adapter="onnx", parameters=5)
        while not stop.is_set():
            digest = hashlib.sha256(str(written).encode()).hexdigest()
            manifest = Manifest(files=(FileEntry(path="m.onnx", size=written, sha256=digest),))
            made, _ = versions.add(f"written-{written % 50}", manifest, analysis, False)
            aliases.move(made.model, "production", made.number, who="bench")
            written += 2
            time.sleep(0.001)

    writer = threading.Thread(target=write)
    started = time.perf_counter()
    writer.start()
    try:
        found = _ask(database, asked)
    finally:
        stop.set()
        writer.join()
    return found, written / (time.perf_counter() - started)


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def tables(result: dict[str, Any]) -> list[Table]:
    rows = []
    for name, told in (
        ("alone", result["alone"]),
        (f"beside {result['written']:,.0f} writes a second", result["beside"]),
    ):
        numbers = (f"{told[each]:,.1f}" for each in ("p50", "p95", "p99", "longest", "processor"))
        rows.append((name, f"{told['count']:,}", *numbers))
    kinds = sorted(result["alone"]["kinds"].items(), key=lambda each: -each[1]["p95"])
    return [
        Table(
            f"{result['versions']:,} versions, {result['bytes'] / 1e6:,.0f} MB of SQLite",
            ("searches", "pages", "p50, ms", "p95, ms", "p99, ms", "longest, ms", "processor time, p95, ms"), rows,
        ),
        Table("By kind, alone", ("", "p50, ms", "p95, ms"), [(kind, f"{told['p50']:.1f}", f"{told['p95']:.1f}") for kind, told in kinds]),
    ]  # fmt: skip


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    return [
        at_most(
            "a page of 50 among 100,000 versions ≤ 50 ms p95, SQLite", result["alone"]["p95"], 50, " ms", 1
        ),
        at_most("the same beside a writer", result["beside"]["p95"], 50, " ms", 1),
    ]
