"""Which HTTP server carries the node's path fastest? Ours on httptools, uvicorn (ASGI), granian (RSGI).

The same router, dataplane, queue and executor behind each; everything on one core, wrk on the other.
"""

from bench.load import wrk
from bench.machine import Rows
from bench.node import BODY, served

_SERVERS = {
    "ours (uvloop + httptools)": None,
    "uvicorn, plain ASGI": ["-m", "bench.servers", "uvicorn"],
    "granian, RSGI": ["-m", "bench.servers", "granian"],
}


def answer() -> Rows:
    """Per server: predictions a second at 32 connections, p50 at one, and bare ``/health``."""
    rows: Rows = []
    for name, program in _SERVERS.items():
        with served(program) as url:
            target = f"{url}/v2/models/mlp/infer"
            wrk(target, BODY, connections=32, seconds=2)
            many = max(
                (wrk(target, BODY, connections=32, seconds=4) for _ in range(2)), key=lambda one: one.rate
            )
            single = min(
                (wrk(target, BODY, connections=1, seconds=2) for _ in range(2)), key=lambda one: one.p50
            )
            health = wrk(f"{url}/health", None, connections=32, seconds=3)
        rows.append(
            (
                name,
                f"{many.rate:,.0f} /s",
                f"p50 of one: {single.p50:.3f} ms; /health {health.rate:,.0f} /s",
            )
        )
    return rows
