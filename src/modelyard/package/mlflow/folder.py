"""MLflow's folder of files (``mlruns``), as it was kept before there was a database."""

from pathlib import Path
from typing import Any

import yaml

from modelyard.core.errors import NotFound, RejectedContent
from modelyard.package.mlflow.tracking import MlflowVersion, RegisteredModel, Run

_LARGEST = 4 * 1024 * 1024  # bytes of one of its small files


class FolderTracking:
    """The folder with one of each experiment and ``models``. Raises NotFound when it is not there."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NotFound(f"There is no folder {root}.", field="--tracking-uri")
        self.address = root.name
        self._root = root
        self._models = root / "models"

    def models(self) -> list[str]:
        return sorted(each.parent.name for each in self._models.glob("*/meta.yaml"))

    def model(self, name: str) -> RegisteredModel:
        place = self._named(name)
        told = _yaml(place / "meta.yaml")
        aliases = {each.name: int(_text(each)) for each in (place / "aliases").glob("*") if each.is_file()}
        return RegisteredModel(name, str(told.get("description") or ""), _texts(place / "tags"), aliases)

    def versions(self, name: str) -> list[MlflowVersion]:
        found = [self._version(name, each.parent) for each in self._named(name).glob("version-*/meta.yaml")]
        return sorted(found, key=lambda each: each.number)

    def run(self, id: str) -> Run:
        place = next((each.parent for each in self._root.glob(f"*/{_plain(id)}/meta.yaml")), None)
        if place is None:
            raise NotFound(f"{self.address} has no run {id!r}.", field="source")
        metrics: dict[str, float] = {}
        for name, text in _texts(place / "metrics").items():
            parts = text.strip().splitlines()[-1].split() if text.strip() else []
            if len(parts) >= 2:  # time, value, step
                metrics[name] = float(parts[1])
        return Run(id, str(_yaml(place / "meta.yaml")["artifact_uri"]), metrics, _texts(place / "params"))

    def location(self, model_id: str) -> str:
        found = next(self._root.glob(f"*/models/{_plain(model_id)}/meta.yaml"), None)
        if found is None:
            raise NotFound(f"{self.address} has no logged model {model_id!r}.", field="source")
        return str(_yaml(found)["artifact_location"])

    def close(self) -> None:
        """Nothing is open."""

    def _named(self, name: str) -> Path:
        place = self._models / _plain(name)
        if not (place / "meta.yaml").is_file():
            raise NotFound(f"{self.address} has no registered model {name!r}.", field="source")
        return place

    def _version(self, name: str, place: Path) -> MlflowVersion:
        told = _yaml(place / "meta.yaml")
        location = told.get("storage_location") or told.get("source")
        return MlflowVersion(
            name, int(told["version"]), str(location), told.get("run_id") or None, str(told.get("description") or ""),
            _texts(place / "tags"), str(told.get("status") or "READY"),
        )  # fmt: skip


def _plain(name: str) -> str:
    """A name that is one folder's. Raises NotFound for a path or a pattern."""
    if "/" in name or name.startswith(".") or any(each in name for each in "*?[\0"):
        raise NotFound(f"There is nothing called {name[:100]!r}.", field="source")
    return name


def _yaml(path: Path) -> dict[str, Any]:
    try:
        told = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise RejectedContent(f"{path} is not YAML, as MLflow writes it.") from error
    if not isinstance(told, dict):
        raise RejectedContent(f"{path} is not as MLflow writes it.")
    return told


def _texts(folder: Path) -> dict[str, str]:
    """The small files below a folder, by their paths in it."""
    found = (each for each in folder.rglob("*") if each.is_file() and not each.is_symlink())
    return {each.relative_to(folder).as_posix(): _text(each).rstrip("\n") for each in found}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise RejectedContent(f"{path} is too large to be one of MLflow's small files.")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RejectedContent(f"{path} cannot be read: {error}.") from error
