"""``modelyard models push`` and ``pull``: files from anywhere become a version, and a version files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from modelyard.cli.common import client, signer_of
from modelyard.cli.output import print_facts, print_json
from modelyard.cli.sources import place_of
from modelyard.client.deploy_flow import name_of
from modelyard.client.progress import StageProgress
from modelyard.client.push_flow import Arrived
from modelyard.core.card import Card, check_card
from modelyard.core.licence import check_listed
from modelyard.core.metrics import MetricsTable
from modelyard.core.reference import check_alias
from modelyard.core.units import format_bytes


def run(
    model: str,
    name: str | None,
    *,
    trust_pickle: bool,
    because: str,
    sha256: str | None,
    sign: Path | None,
    alias: str | None,
    task: str | None,
    licence: str | None,
    tags: Sequence[str],
    metrics: Sequence[str],
    tracking: str | None,
    as_json: bool,
) -> None:
    """Raises what hinders the fetching, the upload or the registration."""
    if licence is not None:
        check_listed(licence, field="--licence")
    card = check_card(Card(task=task, licence=licence, tags=tuple(tags), metrics=_metrics(metrics)))
    if alias is not None:
        check_alias(alias, field="--alias")  # before a version is there
    signs = signer_of(sign)  # a key that is none is told before anything is fetched
    found = place_of(model, sha256, tracking=tracking, trusted=trust_pickle)
    called = name_of(found.path, name)
    with client() as platform, StageProgress(quiet=as_json) as progress:
        arrived = platform.push(
            found.path, called, trust_pickle=trust_pickle, because=because, card=card if found.card is None else card.filled(found.card),
            source=found.source, sign=signs, on_event=progress.show,
        )  # fmt: skip
        if alias is not None:
            platform.registry.alias(called, alias, arrived.version.number, because=because)
    found.forget()
    told = described(arrived, alias)
    if as_json:
        print_json(told)
        return
    print(f"\n{called}/{arrived.version.number}" + ("" if arrived.new else ", which was there already"))
    print_facts(
        [("format", told["format"]), ("size", format_bytes(told["size"])), ("digest", told["digest"])]
    )
    if arrived.kept:
        print(f"\nnote: {arrived.note}")
    print(f"\nDeploy it: modelyard deploy {called}/{arrived.version.number}")


def pull(name: str, to: Path | None, *, as_json: bool) -> None:
    """Raises NotFound, Conflict for a folder that is there."""
    with client() as platform, StageProgress(quiet=as_json) as progress:
        pulled = platform.pull(name, to, on_event=progress.show)
    if as_json:
        print_json(
            {"model": pulled.version.model, "version": pulled.version.number, "folder": str(pulled.folder)}
        )
    else:
        print(pulled.folder)


def described(arrived: Arrived, alias: str | None) -> Mapping[str, Any]:
    """What came, as JSON has it."""
    version = arrived.version
    return {
        "model": version.model, "version": version.number, "new": arrived.new, "digest": version.digest,
        "format": version.analysis.format, "size": version.manifest.size, "alias": alias, "url": arrived.url,
        "card_kept": list(arrived.kept),
    }  # fmt: skip


def _metrics(pairs: Sequence[str]) -> tuple[MetricsTable, ...]:
    rows: list[tuple[str | int | float | None, ...]] = []
    for pair in pairs:
        name, separator, value = pair.partition("=")
        try:
            rows.append((name, float(value)))
        except ValueError as error:
            raise typer.BadParameter(f"{pair!r} is not NAME=NUMBER.", param_hint="--metric") from error
        if not separator or not name:
            raise typer.BadParameter(f"{pair!r} is not NAME=NUMBER.", param_hint="--metric")
    return (MetricsTable(title="Metrics", columns=("metric", "value"), rows=tuple(rows)),) if rows else ()
