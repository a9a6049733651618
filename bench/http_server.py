"""Which HTTP server carries the node's path fastest? Ours on httptools, uvicorn (ASGI), granian (RSGI).

The same router, dataplane, queue and executor behind each; everything on one core, wrk on the other.
"""

import tempfile
from pathlib import Path
from typing import Any

from bench.load.wrk import wrk
from bench.models import mlp
from bench.node import node
from bench.plan import Plan
from bench.results import Table, Verdict
from bench.runs import Runs

_SERVERS = {
    "ours (uvloop + httptools)": None,
    "uvicorn, plain ASGI": ["-m", "bench.servers", "uvicorn"],
    "granian, RSGI": ["-m", "bench.servers", "granian"],
}


def seconds(plan: Plan) -> float:
    return plan.repeats * len(_SERVERS) * (4 + plan.seconds(8))


def measure(plan: Plan) -> dict[str, Any]:
    """Per server: predictions a second at 32 connections, p50 at one, and bare ``/health``."""
    runs = Runs()
    for _ in range(plan.repeats):
        for name, program in _SERVERS.items():
            with tempfile.TemporaryDirectory() as folder:
                pool = mlp.pool(Path(folder))
                with node(Path(folder), pool, program=program) as running:
                    target = mlp.json_target(running.http)
                    wrk(target, connections=32, seconds=1)
                    runs.add(name, "many", wrk(target, connections=32, seconds=plan.seconds(4)))
                    runs.add(name, "one", wrk(target, connections=1, seconds=plan.seconds(2)))
                    health = mlp.health_target(running.http)
                    runs.add(name, "health", wrk(health, connections=32, seconds=plan.seconds(2)))
    return {"servers": runs.medians()}


def tables(result: dict[str, Any]) -> list[Table]:
    rows = [
        (name, f"{cells['many']['rate']:,.0f} /s", f"{cells['one']['p50']:.3f} ms",
         f"{cells['health']['rate']:,.0f} /s")
        for name, cells in result["servers"].items()
    ]  # fmt: skip
    return [Table("", ("", "predictions, 32 connections", "one connection, p50", "`/health`"), rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    return []
