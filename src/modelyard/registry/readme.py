"""A version's README: its Markdown, and what its front matter says of licence, task, tags and figures.

The front matter is that of model cards of the Hugging Face hub
(https://github.com/huggingface/hub-docs/blob/main/modelcard.md).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import msgspec

from modelyard.analyze.model_yaml import load_yaml
from modelyard.core.card import MAX_TEXT, Card, check_card, word_of
from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.core.files import Files
from modelyard.core.metrics import MetricsTable

_NAMES = ("README.md", "readme.md", "Readme.md", "README.markdown")
_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_SKIPPED = re.compile(r"(license|region|language|arxiv|doi|base_model|dataset)s?:")
# The hub's own words for licences (https://huggingface.co/docs/hub/repositories-licenses) that SPDX writes otherwise.
_HUB_LICENCES = {"gpl": None, "lgpl": None, "cc": None, "other": None, "unknown": None, "bigscience-bloom-rail-1.0": "LicenseRef-BigScience-BLOOM-RAIL-1.0"}  # fmt: skip


class Readme(NamedTuple):
    """``text`` without the front matter, and the card that this makes (empty where it says nothing)."""

    text: str
    card: Card


def read_readme(files: Files) -> Readme | None:
    """The README in the top folder; None when there is none, or it is no text.

    A front matter that is not well-formed is a part of the text: it says nothing that could be relied on.
    """
    path = next((name for name in _NAMES if name in files.paths), None)
    if path is None:
        return None
    try:
        text = files.read(path, 0, 4 * MAX_TEXT).decode()
    except UnicodeDecodeError:
        return None
    text = text.removeprefix("\ufeff").replace("\x00", "")[:MAX_TEXT]
    matter = _MATTER.match(text)
    if matter is None:
        return Readme(text, Card())
    try:
        told = load_yaml(matter[1], path)
    except RejectedContent:
        return Readme(text, Card())
    if not isinstance(told, Mapping):
        return Readme(text, Card())
    return Readme(text[matter.end() :].lstrip("\n"), _card(cast("Mapping[str, Any]", told)))


def _card(told: Mapping[str, Any]) -> Card:
    """What of the front matter a card can say; each thing by itself, so that one that cannot be loses no other."""
    card = Card()
    licence = told.get("license")
    if isinstance(licence, str):
        name = told.get("license_name") if licence == "other" else licence
        known = _HUB_LICENCES.get(licence, licence) if licence != "other" else None
        if known is None and isinstance(name, str) and licence == "other":
            known = "LicenseRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-")[:80]
        card = _with(card, licence=_spdx(known))
    task = told.get("pipeline_tag")
    if isinstance(task, str):
        card = _with(card, task=word_of(task))
    tags = told.get("tags")
    if isinstance(tags, list):
        words = [word_of(tag) for tag in tags[:100] if isinstance(tag, str) and not _SKIPPED.match(tag)]
        card = _with(card, tags=tuple(dict.fromkeys(word for word in words if word)))
    return _with(card, metrics=_metrics(told.get("model-index")))


def _with(card: Card, **said: Any) -> Card:
    try:
        return check_card(msgspec.structs.replace(card, **said))
    except InvalidInput:
        return card


def _spdx(told: str | None) -> str | None:
    if told is None or re.fullmatch(r"[A-Za-z0-9.+-]+", told) is None:
        return None
    return f"LicenseRef-{told}" if "rail" in told and not told.startswith("LicenseRef") else told


def _metrics(told: Any) -> tuple[MetricsTable, ...]:
    """``model-index``: for each model its results by task and data set."""
    rows: list[tuple[str | int | float | None, ...]] = []
    for model in told if isinstance(told, list) else ():
        results = model.get("results") if isinstance(model, Mapping) else None
        for result in results if isinstance(results, list) else ():
            if not isinstance(result, Mapping):
                continue
            task, data = (_name(result.get(key)) for key in ("task", "dataset"))
            metrics = result.get("metrics")
            for metric in metrics if isinstance(metrics, list) else ():
                value = metric.get("value") if isinstance(metric, Mapping) else None
                if isinstance(value, int | float | str) and not isinstance(value, bool):
                    rows.append(
                        (task, data, _name(metric), value if not isinstance(value, str) else value[:500])
                    )
    if not rows:
        return ()
    columns = ("task", "data", "metric", "value")
    return (MetricsTable(title="Results (README)", columns=columns, rows=tuple(rows[:500])),)


def _name(told: Any) -> str:
    if not isinstance(told, Mapping):
        return ""
    return str(told.get("name") or told.get("type") or "")[:200]
