"""Does it last? 100,000 calls in a row from 1,000 connections: memory, and every call accounted for.

The small perceptron; node and executor on one core, our own client on the other, every answer compared.
Memory is that of node and executor together, from a tenth of the calls on (what is allocated once is
there by then) to the end.
"""

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from bench.load.loop import Load
from bench.load.question import Question, post_json
from bench.models import mlp
from bench.node import node
from bench.plan import Plan
from bench.results import Table, Verdict, at_most
from bench.status import executors, node_pid, resident

CALLS, CONNECTIONS = 100_000, 1_000
ONCE = True  # one long run, whatever number of rounds is asked for
_PER_SECOND = 2_500  # what a busy machine manages at the least, to foretell how long it takes


def seconds(plan: Plan) -> float:
    return 8 + plan.count(CALLS, 10_000) / _PER_SECOND


def measure(plan: Plan) -> dict[str, Any]:
    calls = CALLS if not plan.quick else 10_000  # the number is the question: no scale shortens it
    with tempfile.TemporaryDirectory() as folder:
        file = mlp.path(Path(folder))
        questions = _questions(file)
        with node(Path(folder), mlp.pool(Path(folder))) as running:
            return uvloop.run(_one(running.http, questions, calls))


def _questions(file: Path) -> list[Question]:
    """A hundred different rows with their right answers."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    rng = np.random.default_rng(0)
    out = []
    for _ in range(100):
        row = np.round(rng.standard_normal((1, 64)), 3).astype("f4")
        wanted = session.run(None, {"x": row})[0].ravel()
        tensor = {
            "name": "x",
            "shape": [1, 64],
            "datatype": "FP32",
            "data": [float(f"{v:.3f}") for v in row[0]],
        }

        def right(body: bytes, wanted: np.ndarray = wanted) -> bool:
            return mlp.right(mlp.output_of(json.loads(body)), wanted)

        out.append(Question(post_json("/v2/models/mlp/infer", {"inputs": [tensor]}), right))
    return out


async def _one(http: str, questions: list[Question], calls: int) -> dict[str, Any]:
    pids = [node_pid(http), *executors(http)]
    load = Load(http)
    samples: list[tuple[int, int]] = []  # calls answered, bytes resident

    async def watch() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                samples.append((load.tally.total, resident(pids)))
                await asyncio.sleep(0.25)

    watcher = asyncio.ensure_future(watch())
    chosen = (questions[index % len(questions)] for index in range(calls))
    tally = await load.closed(chosen, connections=CONNECTIONS)
    samples.append((tally.total, resident(pids)))
    watcher.cancel()
    await watcher
    return {
        "calls": calls,
        "connections": CONNECTIONS,
        "rate": tally.total / tally.seconds,
        "outcomes": tally.summary()["innocent"],
        "statuses": tally.statuses,
        "samples": samples,
    }


def _growth(result: dict[str, Any]) -> tuple[float, float, float]:
    """Megabytes after a tenth and at the end, and the largest departure from the former in percent."""
    late = [size for done, size in result["samples"] if done >= result["calls"] / 10]
    first = late[0]
    worst = max(abs(size - first) for size in late)
    return first / 1e6, late[-1] / 1e6, 100 * worst / first


def _lost(result: dict[str, Any]) -> int:
    outcomes = result["outcomes"]
    return result["calls"] - outcomes["right"]


def tables(result: dict[str, Any]) -> list[Table]:
    first, last, worst = _growth(result)
    outcomes = result["outcomes"]
    rows = [
        ("calls · connections", f"{result['calls']:,} · {result['connections']:,}"),
        ("answered rightly", f"{outcomes['right']:,}"),
        (
            "wrong · refused · failed · lost · hung",
            " · ".join(str(outcomes[name]) for name in ("wrong", "refused", "failed", "lost", "hung")),
        ),
        ("calls a second (the client's limit too)", f"{result['rate']:,.0f}"),
        ("resident after a tenth of the calls → at the end", f"{first:.1f} → {last:.1f} MB"),
        ("largest departure in between", f"{worst:.1f} %"),
    ]
    return [Table("", ("", "measured"), rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    return [
        at_most("resident memory flat, ± 5 %", _growth(result)[2], 5, " %", 1),
        at_most("0 lost", float(_lost(result)), 0, "", 0),
    ]
