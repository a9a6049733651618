"""MLflow's server, by its REST API (https://mlflow.org/docs/latest/rest-api.html).

Who we are, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD say, or MLFLOW_TRACKING_TOKEN.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from modelyard.core.addresses import shown
from modelyard.core.errors import Forbidden, InvalidInput, NotFound, RejectedContent, Unavailable
from modelyard.package.mlflow.tracking import MlflowVersion, RegisteredModel, Run

if TYPE_CHECKING:
    import httpx

_API = "/api/2.0/mlflow"
_ATTEMPTS = 4
_PAGE = "100"


class ServerTracking:
    """A server. ``url`` may carry a user and a password; :attr:`address` does not."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise InvalidInput(f"{shown(url)[:100]!r} has no host.", field="--tracking-uri")
        self.address = shown(url).rstrip("/")
        self._root = self.address
        user = parts.username or os.environ.get("MLFLOW_TRACKING_USERNAME")
        password = parts.password or os.environ.get("MLFLOW_TRACKING_PASSWORD") or ""
        self._auth = (user, password) if user else None
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        self._headers = {"Authorization": f"Bearer {token}"} if token and self._auth is None else {}
        self._client: httpx.Client | None = None

    def models(self) -> list[str]:
        return sorted(
            str(each["name"]) for each in self._pages("/registered-models/search", "registered_models", {})
        )

    def model(self, name: str) -> RegisteredModel:
        told = self._ask("/registered-models/get", {"name": name})["registered_model"]
        return RegisteredModel(
            name=str(told["name"]),
            description=str(told.get("description") or ""),
            tags=_pairs(told.get("tags")),
            aliases={str(each["alias"]): int(each["version"]) for each in told.get("aliases") or ()},
        )

    def versions(self, name: str) -> list[MlflowVersion]:
        quoted = name.replace("'", "\\'")
        found = self._pages("/model-versions/search", "model_versions", {"filter": f"name='{quoted}'"})
        versions = [self._version(each) for each in found if each["name"] == name]
        return sorted(versions, key=lambda each: each.number)

    def _version(self, told: dict[str, Any]) -> MlflowVersion:
        asked = {"name": told["name"], "version": str(told["version"])}
        location = (
            self._ask("/model-versions/get-download-uri", asked).get("artifact_uri") or told["source"]
        )
        return MlflowVersion(
            model=str(told["name"]), number=int(told["version"]), location=str(location), run=told.get("run_id") or None,
            description=str(told.get("description") or ""), tags=_pairs(told.get("tags")),
            status=str(told.get("status") or "READY"),
        )  # fmt: skip

    def run(self, id: str) -> Run:
        told = self._ask("/runs/get", {"run_id": id})["run"]
        data = told.get("data") or {}
        return Run(
            id=id,
            artifacts=str(told["info"]["artifact_uri"]),
            metrics={str(each["key"]): float(each["value"]) for each in data.get("metrics") or ()},
            parameters=_pairs(data.get("params")),
        )

    def location(self, model_id: str) -> str:
        told = self._ask(f"/logged-models/{quote(model_id, safe='')}", {})
        return str(told["model"]["info"]["artifact_uri"])

    def listed(self, path: str) -> list[dict[str, Any]]:
        """What the server's own store of artifacts has in a folder: ``path``, ``is_dir``, ``file_size`` of each."""
        told = self._json("/api/2.0/mlflow-artifacts/artifacts", {"path": path})
        return list(told.get("files") or ())

    @contextmanager
    def stream(self, path: str, first: int) -> Iterator["httpx.Response"]:
        """A file of that store, from a byte on where the server can do that (status 206)."""
        headers = {"Range": f"bytes={first}-"} if first else {}
        url = f"{self._root}/api/2.0/mlflow-artifacts/artifacts/{quote(path)}"
        with self._open().stream("GET", url, headers=headers) as response:
            _check(response.status_code, f"{self.address}: {path}", "")
            yield response

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _pages(self, path: str, field: str, asked: dict[str, str]) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = {"page_token": token} if token else {}
            told = self._ask(path, {**asked, "max_results": _PAGE, **page})
            yield from told.get(field) or ()
            token = str(told.get("next_page_token") or "")
            if not token:
                return

    def _ask(self, path: str, asked: dict[str, str]) -> dict[str, Any]:
        return self._json(_API + path, asked)

    def _json(self, path: str, asked: dict[str, str]) -> dict[str, Any]:
        import httpx

        why = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(min(4.0, 0.5 * 2**attempt))
            try:
                response = self._open().get(self._root + path, params=asked)
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
                continue
            if response.status_code in (429, 500, 502, 503, 504):
                why = f"it answers {response.status_code}"
                continue
            _check(response.status_code, self.address, response.text)
            try:
                told = response.json()
            except ValueError:
                told = None
            if not isinstance(told, dict):
                raise RejectedContent(
                    f"{self.address} does not answer as MLflow does; is it MLflow's address?"
                )
            return told
        raise Unavailable(f"MLflow at {self.address} does not answer ({why[:200]}).", retry_after=30.0)

    def _open(self) -> "httpx.Client":
        if self._client is None:
            import httpx

            self._client = httpx.Client(
                auth=self._auth,
                headers=self._headers,
                timeout=httpx.Timeout(60.0, connect=15.0),
                follow_redirects=False,
            )
        return self._client


def _check(status: int, what: str, text: str) -> None:
    """Raises what an answer means that is none."""
    if status in (200, 206):
        return
    if status in (401, 403):
        raise Forbidden(
            f"{what} is not given to us ({status}): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN."
        )
    if status == 404 or "RESOURCE_DOES_NOT_EXIST" in text:
        raise NotFound(f"{what} has no such thing: {_message(text)}", field="source")
    raise RejectedContent(f"{what} answers {status}: {_message(text)}")


def _message(text: str) -> str:
    import json

    try:
        return str(json.loads(text)["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return text[:200] or "nothing more."


def _pairs(held: Any) -> dict[str, str]:
    return {str(each["key"]): str(each.get("value", "")) for each in held or ()}
