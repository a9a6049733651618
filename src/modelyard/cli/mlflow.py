"""``modelyard models import-mlflow``."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

import typer

from modelyard.cli.common import client
from modelyard.cli.output import print_json, print_table
from modelyard.cli.ticker import Ticker
from modelyard.client import Client
from modelyard.client.location import find_home
from modelyard.core.errors import ModelyardError, NotFound
from modelyard.core.names import suggest_name
from modelyard.package.mlflow.tracking import RegisteredModel, Tracking, tracking_at
from modelyard.package.uv import Progress
from modelyard.pipeline.mlflow import bring, done, source_of


class Row(NamedTuple):
    """What became of one of MLflow's versions. ``version`` is ours; ``why`` it was refused."""

    name: str
    number: int
    state: str
    version: int | None
    why: str = ""


def run(
    names: Sequence[str], tracking_uri: str | None, *, trust_pickle: bool, because: str, as_json: bool
) -> None:
    """Raises what hinders the asking; exits 1 when a version was refused, after all the others."""
    rows: list[Row] = []
    with (
        closing(tracking_at(tracking_uri)) as tracking,
        client() as platform,
        Ticker(quiet=as_json) as ticker,
    ):
        for name in names or tracking.models():
            model = tracking.model(name)
            rows += _model(platform, tracking, model, trust_pickle, because, ticker.show)
    if as_json:
        print_json({"from": tracking.address, "versions": [row._asdict() for row in rows]})
    else:
        _print(rows)
    if any(row.state == "refused" for row in rows):
        raise typer.Exit(1)


def _model(
    platform: Client, tracking: Tracking, model: RegisteredModel, trust: bool, because: str, show: Progress
) -> list[Row]:
    """All versions of one, the oldest first, then its aliases."""
    root = find_home().root.absolute() / "sources" / "mlflow"
    rows: list[Row] = []
    try:
        called = suggest_name(model.name)
    except ModelyardError as error:
        return [Row(model.name, 0, "refused", None, error.message)]
    known, numbers = _known(platform, tracking, called), dict[int, int]()
    for version in tracking.versions(model.name):
        source = source_of(tracking, version)
        if (ours := known.get((source.name, source.revision))) is not None:
            numbers[version.number] = ours
            rows.append(Row(model.name, version.number, "there", ours))
            continue
        show(f"{model.name}/{version.number}")
        try:
            brought = bring(tracking, version, root, model=model, trusted=trust, progress=show)
            arrived = platform.push(
                brought.folder,
                called,
                trust_pickle=trust,
                because=because,
                card=brought.card,
                source=source,
            )
        except ModelyardError as error:
            rows.append(Row(model.name, version.number, "refused", None, error.message))
            continue
        done(brought)
        numbers[version.number] = arrived.version.number
        state = "imported" if arrived.new else "there"
        rows.append(Row(model.name, version.number, state, arrived.version.number))
    for alias, number in sorted(model.aliases.items()):
        if number in numbers:
            platform.registry.alias(
                called, suggest_name(alias), numbers[number], because="imported from MLflow"
            )
    return rows


def _known(platform: Client, tracking: Tracking, called: str) -> dict[tuple[str, str | None], int]:
    """Our versions that came from there, by their names and runs there."""
    try:
        versions = platform.model(called).versions
    except NotFound:
        return {}
    known: dict[tuple[str, str | None], int] = {}
    for each in versions:
        number = each if isinstance(each, int) else each.number
        for arrival in platform.provenance(called, number):
            source = arrival.source
            if source.kind == "mlflow" and source.of is not None and source.of.name == tracking.address:
                known[source.name, source.revision] = number
    return known


def _print(rows: Sequence[Row]) -> None:
    if not rows:
        print("There are no registered models.")
        return
    said: list[list[str]] = [
        [
            f"{row.name}/{row.number}",
            {"there": "already there"}.get(row.state, row.state),
            "" if row.version is None else f"v{row.version}",
            row.why,
        ]
        for row in rows
    ]
    print_table(["MLFLOW", "", "VERSION", "WHY"], said)
    counts: dict[str, Any] = {
        state: sum(row.state == state for row in rows) for state in ("imported", "there", "refused")
    }
    print(f"\n{counts['imported']} imported, {counts['there']} already there, {counts['refused']} refused.")
