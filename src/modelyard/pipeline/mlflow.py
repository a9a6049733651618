"""A model of MLflow as the files that we serve: of its flavours the safest, its requirements, example and story beside it."""

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from modelyard.analyze import analyze
from modelyard.core.card import Card, check_card, word_of
from modelyard.core.errors import NotFound, RejectedContent
from modelyard.core.metrics import MetricsTable
from modelyard.core.model import Analysis
from modelyard.core.names import suggest_name
from modelyard.core.provenance import Source
from modelyard.package.mlflow.artifacts import fetch
from modelyard.package.mlflow.tracking import (
    MlflowVersion,
    ModelName,
    RegisteredModel,
    Run,
    RunPath,
    Tracking,
)
from modelyard.package.pins import pinned, written
from modelyard.package.uv import Progress
from modelyard.pipeline.flavours import Laid, inside, lay
from modelyard.store.files import FolderFiles

_LARGEST = 16 * 1024 * 1024  # bytes of MLmodel, and of an example
_MOST_ROWS = 200  # of a table of the card


class Brought(NamedTuple):
    """A model's files in ``folder``, where they came from, and what its run says of it."""

    folder: Path
    source: Source
    card: Card


def find(tracking: Tracking, named: ModelName) -> MlflowVersion:
    """The version that is named by number or alias. Raises NotFound."""
    number = named.number
    if named.alias is not None:
        aliases = tracking.model(named.name).aliases
        if named.alias not in aliases:
            raise NotFound(
                f"{named.name} has no alias {named.alias!r}; it has {', '.join(sorted(aliases)) or 'none'}.",
                field="source",
            )
        number = aliases[named.alias]
    found = next((each for each in tracking.versions(named.name) if each.number == number), None)
    if found is None:
        raise NotFound(f"{tracking.address} has no version {number} of {named.name}.", field="source")
    return found


def source_of(tracking: Tracking, version: MlflowVersion) -> Source:
    """As provenance has it; by this a version is known again."""
    server = Source(kind="url", name=tracking.address)
    return Source(
        kind="mlflow", name=f"models/{version.model}/{version.number}", revision=version.run, of=server
    )


def bring(
    tracking: Tracking,
    what: MlflowVersion | RunPath,
    root: Path,
    *,
    model: RegisteredModel | None = None,
    trusted: bool = False,
    progress: Progress,
) -> Brought:
    """The files of a version, or of what a run logged, in a folder below ``root`` that is called as the model.

    What was fetched before this was broken off is not fetched again. Raises RejectedContent for flavours that are not
    served, or that run code and are not trusted; and what fetching raises.
    """
    if isinstance(what, RunPath):
        run: Run | None = tracking.run(what.run)
        location = f"{run.artifacts.rstrip('/')}/{what.path}"
        name, description, tags = what.path.rpartition("/")[2], "", {}
        server = Source(kind="url", name=tracking.address)
        source = Source(kind="mlflow", name=f"runs/{what.run}/{what.path}", revision=what.run, of=server)
    else:
        if what.status != "READY":
            raise RejectedContent(f"MLflow says that it is {what.status} and not ready.")
        run = _run(tracking, what.run)
        location, name, source = what.location, what.model, source_of(tracking, what)
        description = what.description or (model.description if model is not None else "")
        tags = {**(model.tags if model is not None else {}), **what.tags}
    key = hashlib.sha256(f"{tracking.address}\0{location}\0{name}".encode()).hexdigest()[:12]
    place = root / key
    fetched, folder = place / "mlflow", place / suggest_name(name)
    if folder == fetched:
        fetched = place / "fetched.mlflow"
    fetch(tracking, location, fetched, progress=progress)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    told = _mlmodel(fetched)
    flavour = lay(told["flavors"], fetched, folder)
    _describe(told, fetched, folder, flavour, trusted=trusted)
    card = _card(tags, run)
    if not (folder / "README.md").exists() and (description or run is not None):
        (folder / "README.md").write_text(_readme(name, description, run), "utf-8")
    return Brought(folder, source, card)


def done(brought: Brought) -> None:
    """Forget what was fetched: it is where it belongs."""
    shutil.rmtree(brought.folder.parent, ignore_errors=True)


def _run(tracking: Tracking, id: str | None) -> Run | None:
    try:
        return None if id is None else tracking.run(id)
    except NotFound:
        return None  # a run may be deleted, and the model that it made kept


def _mlmodel(fetched: Path) -> dict[str, Any]:
    path = fetched / "MLmodel"
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise RejectedContent("There is no MLmodel among its files, so it is no model of MLflow's.")
    try:
        told = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RejectedContent("Its MLmodel is not YAML.") from error
    if not isinstance(told, dict) or not isinstance(told.get("flavors"), dict):
        raise RejectedContent("Its MLmodel names no flavours.")
    return told


def _describe(
    told: Mapping[str, Any], fetched: Path, folder: Path, flavour: Laid, *, trusted: bool
) -> None:
    """model.yaml beside the files: exact versions, the Python of a pickle, the example."""
    pickled = flavour.pickled
    try:
        analysis = analyze(FolderFiles(folder))
    except RejectedContent as error:
        raise RejectedContent(
            f"Its flavour {flavour.name} cannot be served: {error.message}{flavour.instead}"
        ) from error
    if analysis.executes == "pickle" and not trusted:
        raise RejectedContent(
            "It is a pickle, which runs code when it loads; if you trust who made it, say --trust-pickle --because 'WHY'."
        )
    path = fetched / "requirements.txt"
    lines = (
        path.read_text("utf-8").splitlines() if path.is_file() and path.stat().st_size < _LARGEST else []
    )
    exact = written(lines)
    names = [name for name in exact if pickled and not name.startswith("mlflow")]
    pins, _ = pinned(analysis.requirements, names, exact.get)
    declared: dict[str, Any] = {}
    if pins:
        declared["requirements"] = list(pins)
    version = str(told["flavors"].get("python_function", {}).get("python_version", ""))
    if pickled and version.count(".") == 2:
        declared["python"] = version.rpartition(".")[0]
    example = _example(told, fetched, analysis)
    if example is not None:
        declared["example"] = example
    if declared:
        text = yaml.safe_dump(declared, sort_keys=False, allow_unicode=True, default_flow_style=None)
        (folder / "model.yaml").write_text(text, "utf-8")
        try:
            analyze(FolderFiles(folder))
        except RejectedContent:
            if example is None:
                raise
            del declared["example"]  # one that its own signature does not take
            (folder / "model.yaml").write_text(yaml.safe_dump(declared, sort_keys=False), "utf-8")


def _example(told: Mapping[str, Any], fetched: Path, analysis: Analysis) -> dict[str, Any] | None:
    """The first row of what it was logged with, as a record; None when that is of another form."""
    info = told.get("saved_input_example_info") or {}
    if analysis.signature is None or not info.get("artifact_path"):
        return None
    path = inside(fetched, str(info["artifact_path"]))
    if path.stat().st_size > _LARGEST:
        return None
    try:
        held = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        return None
    inputs = [spec.name for spec in analysis.signature.inputs]
    if isinstance(held, dict) and isinstance(held.get("data"), list) and held["data"]:
        columns = [str(each) for each in held.get("columns") or ()]
        row = held["data"][0]
        if columns and set(columns) == set(inputs):
            return dict(zip(columns, row, strict=True))
        held = [row]
    if isinstance(held, list) and held and len(inputs) == 1:
        return {inputs[0]: held[0]}
    return None


def _card(tags: Mapping[str, str], run: Run | None) -> Card:
    """What the run says, as far as a card can have it."""
    words = [
        word for name, value in tags.items() if (word := word_of(f"{name}-{value}" if value else name))
    ]
    tables: list[MetricsTable] = []
    if run is not None:
        of_run = f"of MLflow's run {run.id}"
        figures = [
            (name[:500], value) for name, value in sorted(run.metrics.items()) if math.isfinite(value)
        ]
        if figures:
            tables.append(_table(f"Metrics {of_run}", ("metric", "value"), figures))
        if run.parameters:
            told = [(name[:500], value[:500]) for name, value in sorted(run.parameters.items())]
            tables.append(_table(f"Parameters {of_run}", ("parameter", "value"), told))
    return check_card(Card(tags=tuple(sorted(set(words))[:100]), metrics=tuple(tables)))


def _table(title: str, columns: tuple[str, str], rows: Any) -> MetricsTable:
    return MetricsTable(title=title, columns=columns, rows=tuple(rows[:_MOST_ROWS]))


def _readme(name: str, description: str, run: Run | None) -> str:
    """Of this version alone: the card's tables are the model's, and keep what they had first."""
    parts = [f"# {name}"]
    if description:
        parts.append(description.strip())
    if run is not None:
        for title, held in (("Metrics", run.metrics), ("Parameters", run.parameters)):
            if held:
                rows = "\n".join(
                    f"| {_cell(key)} | {_cell(str(value))} |"
                    for key, value in sorted(held.items())[:_MOST_ROWS]
                )
                parts.append(f"## {title}\n\n| | |\n|---|---|\n{rows}")
        parts.append(f"Made by MLflow's run {run.id}.")
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())[:500]
