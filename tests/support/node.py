"""A real node in its own process, with a home of its own and a table given to it as on disk."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from modelyard.core.routes import NodeStatus, Pool, Route, RouteTable
from modelyard.core.settings import Home
from support.ports import free_port

KEY = "a-key-that-only-this-test-knows"


def wait_until(condition, *, timeout: float = 120.0, what: str = "the condition"):
    """Poll until ``condition()`` is true and return it."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {timeout:g} s")


class NodeProcess:
    """Start with :meth:`start`; a context manager that leaves no process behind."""

    def __init__(
        self, root: Path, *, program: tuple[str, ...] = ("-m", "modelyard.serve"), **environment: str
    ) -> None:
        self.program = program
        self.home = Home(root)
        self.home.run.mkdir(parents=True, exist_ok=True)
        self.home.node_key.write_text(KEY)
        self.environment = environment
        self.generation = 0
        self.process: subprocess.Popen[bytes] | None = None
        # Kept by the next process after a kill: not such as another program could be given meanwhile.
        self.port = free_port()
        self.grpc_port = free_port()

    def __enter__(self) -> "NodeProcess":
        return self if self.process is not None else self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> "NodeProcess":
        self.home.address("node").unlink(missing_ok=True)
        self.home.address("grpc").unlink(missing_ok=True)
        with (self.home.root / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program],
                env={
                    "PATH": os.environ["PATH"],
                    "MODELYARD_HOME": str(self.home.root),
                    "MODELYARD_NODE_PORT": str(self.port),
                    "MODELYARD_GRPC_PORT": str(self.grpc_port),
                    **self.environment,
                },
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._listens, what="the node listening")
            if wait:
                wait_until(lambda: self.get("/ready")[0] == 200, what="readiness")
        except BaseException:
            self.stop()  # nobody else would: ``with`` has not begun
            raise
        return self

    def _listens(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log()
        try:
            self.port = urlsplit(self.home.address("node").read_text()).port or 0
            self.grpc_port = urlsplit(self.home.address("grpc").read_text()).port or 0
        except (FileNotFoundError, ValueError):
            return False
        return True

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        return (self.home.root / "node.log").read_text()

    def serve(self, *pools: Pool, routes: dict[str, str] | None = None, **table: object) -> "NodeProcess":
        """Write (before the start) or push (after it) a table with these pools."""
        self.generation += 1
        to = routes if routes is not None else {pool.endpoint: pool.deployment for pool in pools}
        table = RouteTable(
            generation=self.generation,
            pools=pools,
            routes=tuple(Route(endpoint=name, deployment=target) for name, target in to.items()),
            default=next(iter(to), None),
            **table,
        )
        if self.process is None:
            self.home.routes.write_bytes(msgspec.json.encode(table))
        else:
            status, _, body = self.call(
                "PUT", "/node/routes", msgspec.json.encode(table), {"authorization": f"Bearer {KEY}"}
            )
            assert status == 204, body
        return self

    def call(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict]:
        status, _, body = self.call("GET", path, headers=headers)
        return status, json.loads(body)

    def post(self, path: str, value: object, headers: dict[str, str] | None = None) -> tuple[int, dict]:
        status, _, body = self.call(
            "POST",
            path,
            json.dumps(value).encode(),
            {"content-type": "application/json", **(headers or {})},
        )
        return status, json.loads(body)

    def status(self) -> NodeStatus:
        _, _, body = self.call("GET", "/node/status", headers={"authorization": f"Bearer {KEY}"})
        return msgspec.json.decode(body, type=NodeStatus)

    def pids(self, endpoint: str) -> list[int]:
        """The executors of an endpoint that are up."""
        pools = [pool for pool in self.status().pools if pool.endpoint == endpoint]
        return [
            replica.pid
            for pool in pools
            for replica in pool.replicas
            if replica.pid is not None and replica.state == "ready"
        ]
