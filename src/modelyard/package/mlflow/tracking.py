"""What is asked of a place where MLflow keeps models, whichever it is."""

import os
import re
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from modelyard.core.errors import InvalidInput

_PART = r"[^/@]+"
_MODELS = re.compile(rf"mlflow:models:?/(?P<name>{_PART})(?:/(?P<number>\d+)|@(?P<alias>{_PART}))")
_RUNS = re.compile(r"mlflow:runs:?/(?P<run>[0-9a-zA-Z_-]+)/(?P<path>.+)")


class MlflowVersion(NamedTuple):
    """A version of a registered model. ``location`` is where its files lie, ``run`` what made it."""

    model: str
    number: int
    location: str
    run: str | None
    description: str
    tags: dict[str, str]
    status: str = "READY"


class Run(NamedTuple):
    """A run: its last metrics, its parameters, and where its artifacts lie."""

    id: str
    artifacts: str
    metrics: dict[str, float]
    parameters: dict[str, str]


class RegisteredModel(NamedTuple):
    """A registered model: ``aliases`` are the numbers of versions, by name."""

    name: str
    description: str
    tags: dict[str, str]
    aliases: dict[str, int]


class Tracking(Protocol):
    """A place. Every method raises NotFound for what is not there, Unavailable and Forbidden when it cannot be asked."""

    @property
    def address(self) -> str:
        """Where it is, without secrets."""
        ...

    def models(self) -> list[str]: ...

    def model(self, name: str) -> RegisteredModel: ...

    def versions(self, name: str) -> list[MlflowVersion]: ...

    def run(self, id: str) -> Run: ...

    def location(self, model_id: str) -> str:
        """Where the files of a logged model (MLflow 3: ``models:/m-…``) lie."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class ModelName(NamedTuple):
    """``mlflow:models/NAME/3`` or ``mlflow:models/NAME@alias``."""

    name: str
    number: int | None
    alias: str | None


class RunPath(NamedTuple):
    """``mlflow:runs/RUN/PATH``."""

    run: str
    path: str


def parse(text: str) -> ModelName | RunPath:
    """What ``text`` names. Raises InvalidInput."""
    if found := _MODELS.fullmatch(text):
        number = found["number"]
        return ModelName(unquote(found["name"]), None if number is None else int(number), found["alias"])
    if found := _RUNS.fullmatch(text):
        return RunPath(found["run"], found["path"].strip("/"))
    raise InvalidInput(
        f"{text[:100]!r} names no model of MLflow: mlflow:models/NAME/VERSION, mlflow:models/NAME@ALIAS or "
        "mlflow:runs/RUN/PATH.",
        field="source",
    )


def tracking_at(uri: str | None) -> Tracking:
    """The place at ``uri`` (default: MLFLOW_TRACKING_URI). Raises InvalidInput for one that is not spoken to."""
    from modelyard.package.mlflow.database import DatabaseTracking
    from modelyard.package.mlflow.folder import FolderTracking
    from modelyard.package.mlflow.server import ServerTracking

    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not chosen:
        raise InvalidInput(
            "Say where MLflow is: --tracking-uri http://HOST:5000 (or sqlite:///mlflow.db, or a folder), or set "
            "MLFLOW_TRACKING_URI.",
            field="--tracking-uri",
        )
    scheme = urlsplit(chosen).scheme
    if scheme in ("http", "https"):
        return ServerTracking(chosen)
    if scheme == "sqlite":
        return DatabaseTracking(Path(chosen.partition(":///")[2]))
    if scheme in ("", "file"):
        return FolderTracking(
            Path(unquote(urlsplit(chosen).path) if scheme == "file" else chosen).expanduser()
        )
    raise InvalidInput(
        f"MLflow at {scheme}:… is not read here; name its server (http://…), a SQLite file (sqlite:///…) or its folder.",
        field="--tracking-uri",
    )
