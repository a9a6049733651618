"""MLflow's SQLite file, read only."""

import sqlite3
from pathlib import Path
from typing import Any

from modelyard.core.errors import NotFound, RejectedContent
from modelyard.package.mlflow.tracking import MlflowVersion, RegisteredModel, Run


class DatabaseTracking:
    """A file that MLflow keeps its registry in. Raises NotFound, and RejectedContent for another file."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise NotFound(f"There is no SQLite file at {path}.", field="--tracking-uri")
        self.address = f"sqlite:{path.name}"  # not where it lies
        self._database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

    def models(self) -> list[str]:
        return [str(row[0]) for row in self._rows("SELECT name FROM registered_models ORDER BY name")]

    def model(self, name: str) -> RegisteredModel:
        rows = self._rows("SELECT description FROM registered_models WHERE name = ?", name)
        if not rows:
            raise NotFound(f"{self.address} has no registered model {name!r}.", field="source")
        aliases = self._rows("SELECT alias, version FROM registered_model_aliases WHERE name = ?", name)
        return RegisteredModel(
            name,
            str(rows[0][0] or ""),
            _pairs(self._rows("SELECT key, value FROM registered_model_tags WHERE name = ?", name)),
            {str(alias): int(number) for alias, number in aliases},
        )

    def versions(self, name: str) -> list[MlflowVersion]:
        self.model(name)
        rows = self._rows(
            "SELECT version, COALESCE(storage_location, source), run_id, description, status FROM model_versions "
            "WHERE name = ? AND current_stage != 'Deleted_Internal' ORDER BY version",
            name,
        )
        return [
            MlflowVersion(
                name, int(number), str(location), run or None, str(description or ""),
                _pairs(self._rows("SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", name, number)),
                str(status or "READY"),
            )
            for number, location, run, description, status in rows
        ]  # fmt: skip

    def run(self, id: str) -> Run:
        rows = self._rows("SELECT artifact_uri FROM runs WHERE run_uuid = ?", id)
        if not rows:
            raise NotFound(f"{self.address} has no run {id!r}.", field="source")
        metrics = self._rows("SELECT key, value FROM latest_metrics WHERE run_uuid = ? AND NOT is_nan", id)
        return Run(
            id,
            str(rows[0][0]),
            {str(key): float(value) for key, value in metrics},
            _pairs(self._rows("SELECT key, value FROM params WHERE run_uuid = ?", id)),
        )

    def location(self, model_id: str) -> str:
        rows = self._rows("SELECT artifact_location FROM logged_models WHERE model_id = ?", model_id)
        if not rows:
            raise NotFound(f"{self.address} has no logged model {model_id!r}.", field="source")
        return str(rows[0][0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _rows(self, query: str, *values: object) -> list[Any]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise RejectedContent(
                f"{self.address} cannot be read as a database of MLflow: {error}."
            ) from error


def _pairs(rows: list[Any]) -> dict[str, str]:
    return {str(key): str(value or "") for key, value in rows}
