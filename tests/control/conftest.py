"""A control plane on a fresh home, in this process or as one of its own."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from modelyard.control.app import create_app
from modelyard.core.settings import Settings

with warnings.catch_warnings():
    # Starlette would like a successor of httpx here; httpx is what we depend on.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

_PREFIX = "/api/v1"
SERVE = """
import sys
from modelyard.control.app import create_app
from modelyard.control import server
from modelyard.host import log_lines as logs
from modelyard.core.errors import ModelyardError
from modelyard.core.settings import load_settings
settings = load_settings()
logs.configure(settings.log_level)
try:
    server.run(create_app(settings), settings)
except ModelyardError as error:
    sys.exit(error.message)
"""


@pytest.fixture
def settings(tmp_path: Path, place: Path | str) -> Settings:
    """Of a fresh home, with its own database and with one that could be shared."""
    database = place if isinstance(place, str) else None
    return Settings(home=str(tmp_path / "home"), control_port=0, database=database)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The app with its loops running, spoken to without a socket."""
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        yield client


class Process:
    """A control plane of its own process."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
        (home / "run").mkdir(parents=True, exist_ok=True)
        (home / "run" / "control.url").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE],
                env=kept | {"MODELYARD_HOME": str(home), "MODELYARD_CONTROL_PORT": "0", **environment},
                stderr=log,
            )

    def wait(self) -> "Process":
        address = self.home / "run" / "control.url"
        deadline = time.monotonic() + 120
        while not address.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.url = address.read_text()
        self.http = httpx.Client(base_url=self.url, timeout=60)
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts control planes on one home; all are gone at the end."""
    started: list[Process] = []

    def start(**environment: str) -> Process:
        started.append(Process(tmp_path / "home", **environment))
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(AttributeError):
            process.http.close()
        process.kill()


@pytest.fixture
def upload() -> Callable[[httpx.Client, dict[str, bytes]], str]:
    """Uploads files whole."""
    return _upload


def _upload(http: httpx.Client, files: dict[str, bytes]) -> str:
    described = [
        {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in files.items()
    ]
    answer = http.post(_PREFIX + "/uploads", json={"files": described})
    assert answer.status_code == 201, answer.text
    by_digest = {hashlib.sha256(data).hexdigest(): data for data in files.values()}
    for digest in answer.json()["missing"]:
        sent = http.put(
            f"{_PREFIX}/uploads/{answer.json()['id']}/blobs/{digest}", content=by_digest[digest]
        )
        assert sent.status_code == 204, sent.text
    return answer.json()["id"]
