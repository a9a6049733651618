"""How fast is a prediction through the node? Small ONNX MLP, one row, V2 JSON; all of it on one core.

Node and executor share one core, wrk has the other. The limit beside it is what the same HTTP server
does when it has nothing to do (``/health``).
"""

from bench.load import wrk
from bench.machine import Rows
from bench.node import BODY, served


def answer() -> Rows:
    """Requests a second at 32 connections, latency at one; the best of three, since the machine is shared."""
    with served() as url:
        target = f"{url}/v2/models/mlp/infer"
        wrk(target, BODY, connections=32, seconds=2)
        many = max(
            (wrk(target, BODY, connections=32, seconds=5) for _ in range(3)), key=lambda one: one.rate
        )
        single = min(
            (wrk(target, BODY, connections=1, seconds=3) for _ in range(3)), key=lambda one: one.p50
        )
        health = max(
            (wrk(f"{url}/health", None, connections=32, seconds=3) for _ in range(2)),
            key=lambda one: one.rate,
        )
    return [
        ("32 connections", f"{many.rate:,.0f} /s", ">= 10,000"),
        ("32 connections, p50 · p99", f"{many.p50:.2f} · {many.p99:.2f} ms", ""),
        ("32 connections, errors", f"{many.errors}", "0"),
        ("1 connection, p50", f"{single.p50:.3f} ms", "<= 0.25"),
        ("1 connection, p99", f"{single.p99:.3f} ms", ""),
        ("limit: /health, 32 connections", f"{health.rate:,.0f} /s", ""),
    ]
