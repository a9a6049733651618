"""A node that serves the small perceptron (64 → 128 → 10), on one core together with its executor."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.load import SERVER_CORE
from modelyard.core.routes import Route, RouteTable
from modelyard.core.settings import Home

BODY = {
    "inputs": [
        {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [round(0.1 * n, 3) for n in range(64)]}
    ]
}


@contextlib.contextmanager
def served(program: list[str] | None = None) -> Iterator[str]:
    """The URL of a running node (or of ``program`` in its place), both processes on SERVER_CORE."""
    from support.models import mlp_pool

    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.run.mkdir(parents=True)
        home.node_key.write_text("k" * 32)
        pool = mlp_pool(Path(folder) / "mlp")
        table = RouteTable(
            generation=1,
            pools=(pool,),
            routes=(Route(endpoint="mlp", deployment=pool.deployment),),
            default="mlp",
        )
        home.routes.write_bytes(msgspec.json.encode(table))
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), sys.executable, *(program or ["-m", "modelyard.serve"])],
            env={
                **os.environ,
                "MODELYARD_HOME": str(home.root),
                "MODELYARD_NODE_PORT": "0",
                "MODELYARD_GRPC_PORT": "0",
            },
            stderr=subprocess.DEVNULL,
        )
        try:
            url = _wait(home)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait(home: Home) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            url = home.address("node").read_text()
            urllib.request.urlopen(f"{url}/ready", timeout=5).read()
            return url
        time.sleep(0.05)
    raise SystemExit("the node did not become ready within a minute")
