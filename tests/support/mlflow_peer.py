"""MLflow itself, in an environment of its own: its server, and what fills it (mlflow_seed.py)."""

import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.node import wait_until
from support.ports import free_port

SEED = Path(__file__).with_name("mlflow_seed.py")


class Mlflow(NamedTuple):
    """Its Python, a folder that it may write, and its environment's variables."""

    python: str
    folder: Path
    variables: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        quiet = {
            "GIT_PYTHON_REFRESH": "quiet", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow",
            "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # nine processes more
        }  # fmt: skip
        return {**os.environ, **quiet, **self.variables}

    def seed(self, uri: str, flavours: str) -> None:
        """Log models of these flavours at ``uri``; what MLflow answers is in ``answers.json``."""
        script = self.folder / "seed.py"  # not where it lies: our modules are not to be found by it
        script.write_text(SEED.read_text())
        ended = subprocess.run(
            [self.python, str(script), uri, flavours], capture_output=True, text=True, timeout=900, cwd=self.folder,
            env=self.environment,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-4000:]

    @contextmanager
    def serve(self, artifacts: str) -> Iterator[str]:
        """Its server, whose clients write the artifacts themselves to where it says."""
        port, log = free_port(), self.folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self.python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
                 "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}", "--default-artifact-root", artifacts,
                 "--no-serve-artifacts"],
                stdout=output, stderr=output, cwd=self.folder, start_new_session=True, env=self.environment,
            )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: _answers(f"{url}/health"), timeout=300)
            yield url
        finally:
            os.killpg(
                process.pid, signal.SIGKILL
            )  # it takes its time over a SIGTERM, and keeps nothing that is needed
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False
