"""A registry with very many versions, written at once as the registry itself would, and what is searched for in it.

A model has 1 to 9 versions: names, cards of the catalog's categories, sizes and parameters over nine decades, READMEs of
200 words out of 5,000 (after Zipf, so that some words are in nearly all of them).
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import insert, select, text

from modelyard.core.card import Card
from modelyard.core.figure import figures_of
from modelyard.core.listing import BY_METRIC, SORTS, Wanted, facts_of
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.metrics import MetricsTable, figures_table
from modelyard.core.model import Analysis
from modelyard.store import figures
from modelyard.store import tables as rows_of
from modelyard.store.database import Database
from modelyard.store.nouns import pack
from modelyard.store.relist import relist
from modelyard.store.rows import attune
from modelyard.store.words import words_of

RARE = "laboratory"  # a project with a twentieth of the models
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
_DATA = ["mnli", "sst2", "cola", "qqp", "rte"]
_ARCHITECTURES = ["BertModel", "EsmModel", "LlamaForCausalLM", "ViTForImageClassification", "T5Model"]


def fill(database: Database, versions: int, seed: int = 1) -> list[str]:
    """Write models with ``versions`` versions in all, as the registry would; the words of their READMEs, the most
    frequent first."""
    chance = random.Random(seed)
    vocabulary = [
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(4, 9))) for _ in range(5000)
    ]
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    rows: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in (
            "models",
            "cards",
            "tags",
            "versions",
            "metrics",
            "aliases",
            "marks",
            "listings",
            "figures",
            "words",
        )
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
        project = RARE if model_id % 20 == 0 else "default"
        rows["models"].append(
            {"id": model_id, "name": name, "created": 1.0, "last": count, "project": project}
        )
        rows["cards"].append(
            {"model_id": model_id, "card_json": pack(card), "changed": 1.0, "who": "bench"}
        )
        rows["tags"] += [{"model_id": model_id, "tag": tag} for tag in card.tags]
        for number in range(1, count + 1):
            id += 1
            if number == count and model_id % 2:
                rows["aliases"].append({"model_id": model_id, "name": "production", "version_id": id})
            if number == 1 and count > 1 and model_id % 7 == 0:
                rows["marks"].append(
                    {"version_id": id, "mark": "deprecated", "time": 1.0, "who": "bench", "why": "old"}
                )
            _version(chance, rows, id, model_id, name, number, count, card)
    with database.begin() as session:
        into = {
            "models": rows_of.models,
            "cards": rows_of.cards,
            "tags": rows_of.card_tags,
            "versions": rows_of.versions,
            "aliases": rows_of.aliases,
            "marks": rows_of.marks,
            "listings": rows_of.listings,
            "metrics": rows_of.version_metrics,
            "figures": rows_of.figures,
        }
        for name, table in into.items():
            for start in range(0, len(rows[name]), 5000):
                session.execute(insert(table), rows[name][start : start + 5000])
        put = "INSERT INTO listings_words (rowid, words) VALUES (:id, :words)"
        if session.dialect.name == "postgresql":
            put = "INSERT INTO listings_words (version_id, words) VALUES (:id, strip(to_tsvector('simple', :words)))"
        for start in range(0, len(rows["words"]), 5000):
            session.execute(text(put), rows["words"][start : start + 5000])
        attune(session)
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
    metrics = _metrics(chance, id)
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
    if metrics:
        rows["metrics"].append({"version_id": id, "tables_json": pack(metrics)})
        rows["figures"] += figures.rows_of(id, figures_of(metrics))
    rows["listings"].append(
        {
            "version_id": id, "model_id": model_id, "model": name, "number": number, "latest": number == count,
            "deprecated": number == 1 and count > 1 and model_id % 7 == 0, "deleted": False, "quarantined": False, "format": form, "adapter": form, "size": manifest.size,
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


def _metrics(chance: random.Random, id: int) -> list[MetricsTable]:
    """Of two thirds of the versions: figures that nearly all of these have, one that few have, and in one of fifty a
    table of many data."""
    if id % 3 == 0:
        return []
    told = {"auc": round(chance.random(), 4), "Latency (ms)": round(10 ** chance.uniform(-1, 3), 2)}
    if chance.random() < 0.01:
        told["recall@10"] = round(chance.random(), 2)
    tables = [figures_table(told)]
    if id % 50 == 0:
        rows = tuple(("task", data, "accuracy", round(chance.random(), 3)) for data in _DATA)
        tables.append(MetricsTable(title="Results", columns=("task", "data", "metric", "value"), rows=rows))
    return tables


def _check(database: Database, chance: random.Random, versions: int) -> None:
    """What was written at once is what the registry itself would have written."""
    ids = chance.sample(range(1, versions + 1), 20)
    of_sample = (
        select(rows_of.listings)
        .where(rows_of.listings.c.version_id.in_(ids))
        .order_by(rows_of.listings.c.version_id)
    )
    figures_of_sample = select(rows_of.figures).where(rows_of.figures.c.version_id.in_(ids))
    with database.begin() as session:
        before = session.execute(of_sample).all(), {*session.execute(figures_of_sample)}
        for id in ids:
            relist(session, id)
        assert (session.execute(of_sample).all(), {*session.execute(figures_of_sample)}) == before


def _of(chance: random.Random, weighted: list[tuple[str, int]]) -> str:
    return chance.choices([name for name, _ in weighted], [weight for _, weight in weighted])[0]


def searches(chance: random.Random, words: list[str], times: int) -> Iterator[tuple[str, Wanted]]:
    """Kinds of searches, with values drawn anew each time."""
    pick = chance.choice
    kinds: dict[str, Callable[[], Wanted]] = {
        "newest": Wanted,
        "every version, newest": lambda: Wanted(all_versions=True),
        **{f"in the order of {sort}": lambda sort=sort: Wanted(sort=sort) for sort in SORTS[2:] if sort not in BY_METRIC},
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
        "a small project": lambda: Wanted(project=RARE),
        "a small project by size": lambda: Wanted(project=RARE, sort="-size", all_versions=True),
        "a frequent word in a small project": lambda: Wanted(project=RARE, text=words[chance.randint(0, 5)]),
        "a large project by name": lambda: Wanted(project="default", sort="name"),
        "a figure": lambda: Wanted(metrics=(f"auc>={chance.random():.2f}",)),
        "a figure and its order": lambda: Wanted(metrics=(f"auc<={chance.random():.2f}",), sort="-metric"),
        "the best of all versions": lambda: Wanted(metrics=("latency (ms)",), sort="metric", all_versions=True),
        "the best of a category": lambda: Wanted(metrics=("auc",), sort="-metric", category=pick(_CATEGORIES)),
        "the best of a rare licence": lambda: Wanted(metrics=("auc",), sort="-metric", licence="CC0-1.0", all_versions=True),
        "a rare figure in its order": lambda: Wanted(metrics=("recall@10>0.5",), sort="-metric"),
        "a figure on some data": lambda: Wanted(metrics=(f"accuracy[{pick(_DATA)}]>0.5",), sort="-metric", all_versions=True),
        "two figures by size": lambda: Wanted(metrics=("auc>=0.9", "latency_ms<1"), sort="size", all_versions=True),
        "a frequent word by a figure": lambda: Wanted(metrics=("auc",), sort="-metric", text=words[chance.randint(0, 5)]),
        "a rare word by a figure": lambda: Wanted(metrics=("auc",), sort="-metric", text=words[chance.randint(3000, 4999)]),
        "a figure that none has": lambda: Wanted(metrics=("auc>=1.5",), all_versions=True),
        "an alias": lambda: Wanted(alias="production"),
        "an alias by size": lambda: Wanted(alias="production", sort="-size"),
        "usable, by parameters": lambda: Wanted(status="usable", sort="parameters"),
        "deployed": lambda: Wanted(status="deployed"),
        "deprecated": lambda: Wanted(status="deprecated"),
    }  # fmt: skip
    for _ in range(times):
        for kind, make in kinds.items():
            yield kind, make()
