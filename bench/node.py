"""Our own node as the benchmarks run it: one process, its executors, a table given as on disk."""

import contextlib
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench.cores import SERVER_CORE, on
from bench.peers.peer import Running, free_port, supervised, wait_until_right
from modelyard.core.routes import Pool, Route, RouteTable
from modelyard.core.settings import Home

KEY = "k" * 32


@contextlib.contextmanager
def node(
    folder: Path,
    *pools: Pool,
    answers: Callable[[Running], bool] | None = None,
    program: list[str] | None = None,
    core: int | None = SERVER_CORE,
    **settings: str,
) -> Iterator[Running]:
    """A running node (or ``program`` in its place) that serves ``pools``; all of it on ``core`` (None: any).

    Ready when ``answers`` says so, or else when the node does. Raises NotStarted.
    """
    home = Home(folder / "home")
    home.run.mkdir(parents=True)
    home.node_key.write_text(KEY)
    routes = tuple(Route(endpoint=pool.endpoint, deployment=pool.deployment) for pool in pools)
    table = RouteTable(generation=1, pools=pools, routes=routes, default=pools[0].endpoint)
    home.routes.write_bytes(msgspec.json.encode(table))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")},
        "MODELYARD_HOME": str(home.root),
        "MODELYARD_NODE_PORT": str(free_port()),
        "MODELYARD_GRPC_PORT": str(free_port()),
        "PYTHONWARNINGS": "ignore",
        **settings,
    }
    command = [sys.executable, *(program or ["-m", "modelyard.serve"])]
    log = folder / "node.log"
    with supervised(on(core, command), environment, log) as process:
        http = f"http://127.0.0.1:{environment['MODELYARD_NODE_PORT']}"
        running = Running(http, f"127.0.0.1:{environment['MODELYARD_GRPC_PORT']}", process.pid)
        if program is not None:
            # A stand-in server takes a port of its own and writes it down.
            wait_until_right("the node", running, lambda _: home.address("node").is_file(), process, log)
            running = Running(home.address("node").read_text(), None, process.pid)
        wait_until_right("the node", running, answers or _ready, process, log)
        yield running


def _ready(running: Running) -> bool:
    with urllib.request.urlopen(f"{running.http}/ready", timeout=5) as response:
        return response.status == 200
