"""A platform of real parts: control plane and node as processes on a fresh home."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from onnx import TensorProto, helper

from modelyard.core.job import JobEvent

CONTROL = """
import sys
from modelyard.control.app import create_app
from modelyard.control import server
from modelyard.host import log_lines as logs
from modelyard.core.settings import load_settings
from modelyard.pipeline.runner import Runner
from modelyard.web.pages import mount
Runner.LEASE = %r  # so long that no test ends which waits for one to run out
settings = load_settings()
logs.configure(settings.log_level)
app = create_app(settings)
mount(app)
server.run(app, settings)
"""
LEASE = 1000.0
ENDS = ("done", "failed", "cancelled")


class Yard:
    """Starts, kills and speaks to the programs of one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.settings: dict[str, str] = {}  # variables of the programs that are started from now on
        self.node: tuple[str, ...] = (
            "-m",
            "modelyard.serve",
        )  # the node's command line, behind the interpreter
        (home / "run").mkdir(parents=True)
        (home / "run" / "node.key").write_text("n" * 43)
        (home / "key").write_text("a" * 43)
        self.http = httpx.Client(timeout=60)

    def start(self, *programs: str) -> None:
        """Start programs that do not run and wait until they answer."""
        for program in programs:
            address = self.home / "run" / f"{program}.url"
            address.unlink(missing_ok=True)
            command = ["-c", CONTROL % LEASE] if program == "control" else [*self.node]
            kept = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
            with (self.home / f"{program}.log").open("ab") as log:
                self.processes[program] = subprocess.Popen(
                    [sys.executable, *command],
                    env=kept
                    | {
                        "MODELYARD_HOME": str(self.home),
                        "MODELYARD_CONTROL_PORT": "0",
                        "MODELYARD_NODE_PORT": "0",
                        "MODELYARD_GRPC_PORT": "0",
                    }
                    | self.settings,
                    stderr=log,
                )
        for program in programs:
            self.wait(lambda program=program: self.url(program) is not None)

    def kill(self, *programs: str) -> None:
        """kill -9."""
        for program in programs:
            self.processes[program].kill()
            self.processes.pop(program).wait(60)

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()
        self.http.close()

    def url(self, program: str) -> str | None:
        path = self.home / "run" / f"{program}.url"
        return path.read_text() if path.exists() else None

    def wait(self, condition: Callable[[], Any], seconds: float = 120) -> Any:
        """What ``condition`` answers once it is true; the logs when it never is."""
        deadline = time.monotonic() + seconds
        while True:
            answer = condition()
            if answer:
                return answer
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.02)

    def logs(self) -> str:
        return "\n".join(path.read_text()[-6000:] for path in sorted(self.home.glob("*.log")))

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.http.request(method, f"{self.url('control')}/api/v1{path}", **options)
        assert answer.status_code < 400, answer.text
        return answer

    def upload(self, files: dict[str, bytes]) -> str:
        digests = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
        told = [{"path": path, "size": len(files[path]), "sha256": digests[path]} for path in files]
        begun = self.api("POST", "/uploads", json={"files": told}).json()
        for path, data in files.items():
            if digests[path] in begun["missing"]:
                self.api("PUT", f"/uploads/{begun['id']}/blobs/{digests[path]}", content=data)
        return begun["id"]

    def submit(self, endpoint: str, files: dict[str, bytes] | None = None, **more: Any) -> str:
        """Ask for a deployment; the job's id."""
        body = {"endpoint": endpoint, **more}
        if files is not None:
            body["upload"] = self.upload(files)
        return self.api("POST", "/deployments", json=body).json()["id"]

    def follow(self, job: str) -> tuple[dict[str, Any], list[JobEvent]]:
        """Read a job's stream to its end; the job and its events."""
        events: list[JobEvent] = []
        url = f"{self.url('control')}/api/v1/jobs/{job}/events"
        with self.http.stream("GET", url, timeout=120) as stream:
            lines = (line for line in stream.iter_lines() if line.startswith("data: "))
            events += [msgspec.json.decode(line.removeprefix("data: "), type=JobEvent) for line in lines]
        assert events and events[-1].kind in ENDS, (events, self.logs())
        return self.api("GET", f"/jobs/{job}").json(), events

    def deploy(self, endpoint: str, files: dict[str, bytes] | None = None, **more: Any) -> dict[str, Any]:
        """Deploy to the end; the job's result."""
        job, _ = self.follow(self.submit(endpoint, files, **more))
        assert job["state"] == "done", (job, self.logs())
        return job["result"]

    def predict(self, endpoint: str, record: dict[str, Any]) -> httpx.Response:
        return self.http.post(f"{self.url('node')}/models/{endpoint}/predict", json=record)

    def endpoint(self, name: str) -> dict[str, Any]:
        return self.api("GET", f"/endpoints/{name}").json()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """Nothing runs yet."""
    yard = Yard(tmp_path / "home")
    yield yard
    yard.stop()


@pytest.fixture
def running(yard: Yard) -> Yard:
    """Control plane and node run."""
    yard.start("node", "control")
    return yard


def _scale(factor: float) -> dict[str, bytes]:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "k"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("k", TensorProto.FLOAT, [1], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return {"model.onnx": model.SerializeToString()}


@pytest.fixture
def scale() -> Callable[[float], dict[str, bytes]]:
    """Files of an ONNX model that multiplies ``x`` by a factor."""
    return _scale


@pytest.fixture
def function() -> Callable[[str], dict[str, bytes]]:
    """Files of a Python function of one number, with the given body."""

    def files(body: str, before: str = "") -> dict[str, bytes]:
        source = f"{before}\n\ndef predict(x: float) -> float:\n    {body}\n"
        return {"model.py": source.encode()}

    return files
