"""A thousand registered models, ten of them awake: what do they cost who is not called?

Two installations, one with ten models and one with a thousand (small ONNX perceptrons, each with weights of
its own), deployed through the control plane as users do. Then in turn: `modelyard up` timed to the moment at
which both programs answer; ten awake models under four callers in a closed loop, the whole platform on both
cores; resident memory of node and control plane.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import uvloop

from bench.cores import on
from bench.deploy_time import MODELYARD
from bench.load.loop import Load
from bench.load.question import Question, post_json
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.statistics import median
from bench.status import resident
from modelyard.client import Client

FEW, MANY, AWAKE = 10, 1000, 10
_RUN = 8.0
_X = [0.5] * 64


def seconds(plan: Plan) -> float:
    return plan.count(MANY, 30) * 0.6 + 2 * plan.repeats * (plan.seconds(_RUN, 1.0) + 12)


def measure(plan: Plan) -> dict[str, Any]:
    many = 30 if plan.quick else MANY
    with tempfile.TemporaryDirectory() as folder:
        homes = {size: Installation(Path(folder) / str(size), size) for size in (FEW, many)}
        registering = {size: home.fill() for size, home in homes.items()}
        found: dict[str, dict[str, list[float]]] = {str(size): {} for size in homes}
        for _ in range(plan.repeats):
            for size, home in homes.items():
                for what, value in home.look(plan.seconds(_RUN, 1.0)).items():
                    found[str(size)].setdefault(what, []).append(value)
    return {
        "few": FEW,
        "many": many,
        "registering": {str(k): v for k, v in registering.items()},
        "found": found,
    }


class Installation:
    """A home with ``size`` models, of which the first ten are called."""

    def __init__(self, home: Path, size: int) -> None:
        self._home = home
        self._size = size
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")},
            "MODELYARD_HOME": str(home),
            "MODELYARD_CONTROL_PORT": "0",
            "MODELYARD_NODE_PORT": "0",
            "MODELYARD_GRPC_PORT": "0",
        }

    def fill(self) -> float:
        """Deploy all of them, four at a time; seconds that took. All but ten are put to sleep."""
        from support.models import save_mlp

        with self._up(), self._client() as client:
            started = time.monotonic()

            def deploy(number: int) -> None:
                path = save_mlp(self._home / "models" / f"m{number:04}.onnx", seed=number)
                with self._client() as own:
                    own.deploy(path, name=f"m{number:04}")
                    if number >= AWAKE:
                        own.sleep(f"m{number:04}")

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(deploy, range(self._size)))
            assert len(client.endpoints()) == self._size
            return time.monotonic() - started

    def look(self, length: float) -> dict[str, float]:
        """Start it; its figures."""
        started = time.perf_counter()
        with self._up():
            seconds = time.perf_counter() - started
            told = json.loads(self._run("status", "--json"))
            node = told["programs"]["node"]["url"]
            uvloop.run(self._load(node, 1.0))
            tally = uvloop.run(self._load(node, length))
            assert tally.count("right") == tally.total, tally.summary()
            pids = {name: told["programs"][name]["pid"] for name in ("node", "control")}
            return {
                "start": seconds,
                "rate": tally.count("right") / tally.seconds,
                "p50": 1e3 * median(tally.groups["innocent"].taken["right"]),
                "node": resident([pids["node"]]) / 1e6,
                "control": resident([pids["control"]]) / 1e6,
            }

    async def _load(self, node: str, length: float) -> Any:
        asked = (_question(number % AWAKE) for number in count())
        return await Load(node, patience=60).closed(asked, connections=4, seconds=length)

    @contextlib.contextmanager
    def _up(self) -> Iterator[None]:
        try:
            self._run("up")
            yield
        finally:
            subprocess.run(on(None, [MODELYARD, "down"]), env=self._environment, capture_output=True)

    def _run(self, *arguments: str) -> str:
        return subprocess.run(
            on(None, [MODELYARD, *arguments]),
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def _client(self) -> Client:
        return Client(home=str(self._home))


def _question(number: int) -> Question:
    request = post_json(f"/models/m{number:04}/predict", {"x": _X})
    return Question(request, lambda body: body.startswith(b'{"y":['), kind="innocent")


def _of(result: dict[str, Any], size: str, what: str) -> float:
    return median(result["found"][str(result[size])][what])


def tables(result: dict[str, Any]) -> list[Table]:
    rows = [
        (label, *(f"{_of(result, size, what):,.{digits}f}{unit}" for size in ("few", "many")))
        for label, what, digits, unit in (
            ("`modelyard up`, until both programs answer", "start", 2, " s"),
            ("ten awake models, four callers", "rate", 0, " calls/s"),
            ("a call, p50", "p50", 2, " ms"),
            ("node, resident", "node", 1, " MB"),
            ("control plane, resident", "control", 1, " MB"),
        )
    ]
    rows.append(
        (
            "all deployed, one after the other, four at a time, in",
            *(f"{result['registering'][str(result[size])]:,.0f} s" for size in ("few", "many")),
        )
    )
    return [Table("", ("registered models", f"{result['few']:,}", f"{result['many']:,}"), rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    kept = 100 * _of(result, "many", "rate") / _of(result, "few", "rate")
    more = _of(result, "many", "node") - _of(result, "few", "node")
    return [
        at_most("start with 1,000 models ≤ 3 s", _of(result, "many", "start"), 3, " s"),
        at_least("calls a second as with ten (± 5 %)", kept, 95, " %", 1),
        at_most("node memory ≤ +20 MB", more, 20, " MB", 1),
    ]
