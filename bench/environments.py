"""What does an environment cost: the second model with the same lock, and those who serve while a large one is built?

The stage *environment* of deployments whose models differ and whose requirements are the same: the first builds,
the others find it. Then, in turn, four small ONNX models under calls at random moments (200 a second) and under
four callers in a closed loop: alone, beside a builder that makes the environment of AntiBERTy (PyTorch,
transformers) again and again out of uv's cache, and beside one whose cache is empty each time, which downloads
and unpacks as well (left out where no index can be reached). Models, load and builder share all cores. And what a
build takes that has the machine to itself, and one beside calls.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import uvloop

from bench.cores import on
from bench.deploy_time import MODELYARD
from bench.load.loop import Load
from bench.load.question import Question, post_json
from bench.models import mlp
from bench.node import node
from bench.plan import Plan
from bench.results import Table, Verdict, at_most
from bench.statistics import median
from modelyard.client import Client
from modelyard.core.job import JobEvent

LARGE = ("torch>=2.2,<3", "transformers>=4.40,<5", "numpy>=1.26,<3", "tqdm")  # of the adapter antiberty
SMALL = ("scipy", "networkx")  # of a quick run
RATE, CALLERS, MODELS = 200.0, 4, 4
_NAMES = {
    "alone": "alone",
    "warm cache": "beside builds, warm cache",
    "empty cache": "beside builds, empty cache",
}
KINDS = tuple(_NAMES)
_RUN = 12.0
_UNDISTURBED = 40.0
_WHOLE = {"warm cache": 40.0, "empty cache": 60.0}  # in which builds beside calls come to their end
_X = [0.5] * 64

BUILDER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from modelyard.core.errors import ModelyardError
from modelyard.package.environment import Environments
place, empty, *lines = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # and with it goes what it has started
for number in range(1000):
    root = Path(place) / str(number)
    if empty == "empty":
        os.environ["UV_CACHE_DIR"] = str(root / "cache")
    print("begun", flush=True)
    started = time.perf_counter()
    try:
        Environments(root / "environments").ensure(lines)
    except ModelyardError as error:
        sys.exit(error.message)
    print(time.perf_counter() - started, flush=True)
    remove = 'echo 19 > /proc/self/autogroup; exec nice -n 19 rm -rf "$0"'  # not what is measured
    subprocess.run(["sh", "-c", remove, str(root)], check=True, start_new_session=True)
"""


def seconds(plan: Plan) -> float:
    beside = plan.repeats * len(KINDS) * (2 * plan.seconds(_RUN, 2.0) + 4)
    whole = sum(plan.seconds(length, 5.0) for length in _WHOLE.values()) + 2 * plan.seconds(
        _UNDISTURBED, 5.0
    )
    return 30 + plan.count(10, 3) * 2 + 60 + beside + whole


def measure(plan: Plan) -> dict[str, Any]:
    lines = SMALL if plan.quick else LARGE
    return {
        "requirements": lines,
        **_again(plan.count(10, 3)),
        "beside": _beside(plan, lines),
    }


def _again(times: int) -> dict[str, Any]:
    """Milliseconds of the stage: for the first model, and for each of ``times`` others with its requirements."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")},
            "MODELYARD_HOME": f"{folder}/home",
            **{f"MODELYARD_{program}_PORT": "0" for program in ("CONTROL", "NODE", "GRPC")},
        }
        try:
            subprocess.run(on(None, [MODELYARD, "up"]), env=environment, capture_output=True, check=True)
            with Client(home=f"{folder}/home") as client:
                first, *others = [_stage(client, Path(folder), number) for number in range(times + 1)]
        finally:
            subprocess.run([MODELYARD, "down"], env=environment, capture_output=True)
    return {"first": first, "again": others}


def _stage(client: Client, folder: Path, number: int) -> float:
    place = folder / f"m{number}"
    place.mkdir()
    (place / "model.py").write_text(f"def predict(x: float):\n    return x + {number}\n")
    (place / "requirements.txt").write_text("numpy>=1.26,<3\n")
    told: list[JobEvent] = []
    client.deploy(place, on_event=told.append)
    when = {each.kind: each.time for each in told if each.stage == "environment"}
    return 1e3 * (when["stage_done"] - when["stage_started"])


def _beside(plan: Plan, lines: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, dict[str, list[float]]] = {}
    missing: str | None = None
    with tempfile.TemporaryDirectory() as folder:
        names = [f"mlp{number}" for number in range(MODELS)]
        pools = [mlp.pool(Path(folder) / name, deployment=f"{name}-1", endpoint=name) for name in names]
        with node(Path(folder), *pools, core=None) as running:
            _warm(running.http, names)
            _build_once(Path(folder), lines)  # whatever comes, uv's cache has it
            for _ in range(plan.repeats):
                for kind in KINDS:
                    if kind == "empty cache" and missing:
                        continue
                    with _builder(Path(folder) / "builds", kind, lines) as builds:
                        length = plan.seconds(_RUN, 2.0)
                        opened = uvloop.run(_open(running.http, names, length))
                        closed = uvloop.run(_closed(running.http, names, length))
                    if kind == "empty cache" and builds.failed:
                        missing = builds.failed
                        continue
                    told = found.setdefault(kind, {})
                    for what, value in (*opened.items(), *closed.items()):
                        told.setdefault(what, []).append(value)
                    told.setdefault("builds", []).extend(builds.seconds)
            whole: dict[str, list[float]] = {}
            for kind, length in _WHOLE.items():
                with _builder(Path(folder) / "builds", kind, lines) as builds:
                    uvloop.run(_open(running.http, names, plan.seconds(length, 5.0)))
                whole[kind] = builds.seconds
        undisturbed: dict[str, list[float]] = {}
        for kind in _WHOLE:
            with _builder(Path(folder) / "builds", kind, lines) as builds:
                time.sleep(plan.seconds(_UNDISTURBED, 5.0))
            undisturbed[kind] = builds.seconds
    return {"found": found, "left_out": missing, "undisturbed": undisturbed, "whole": whole}


class _Builds:
    """What a builder told: the seconds of each build that came to its end; why it ended, if it did."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failed: str | None = None


@contextlib.contextmanager
def _builder(place: Path, kind: str, lines: tuple[str, ...]) -> Iterator[_Builds]:
    """A builder that builds and builds, from before the block until its end; none for *alone*."""
    builds = _Builds()
    if kind == "alone":
        yield builds
        return
    command = on(None, [sys.executable, "-c", BUILDER, str(place), kind.split()[0], *lines])
    process = subprocess.Popen(  # a session of its own, as a control plane has
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield builds
        if process.poll() is not None:
            builds.failed = (process.stderr.read() if process.stderr else "") or "it ended"
    finally:
        process.terminate()
        told, _ = process.communicate()
        builds.seconds += [float(line) for line in told.splitlines() if line and line != "begun"]
        subprocess.run(["rm", "-rf", str(place)], check=True)
        time.sleep(1.0)


def _build_once(folder: Path, lines: tuple[str, ...]) -> None:
    code = "import sys; from pathlib import Path; from modelyard.package.environment import Environments; "
    code += "Environments(Path(sys.argv[1])).ensure(sys.argv[2:])"
    subprocess.run(on(None, [sys.executable, "-c", code, str(folder / "once"), *lines]), check=True)


def _warm(http: str, names: list[str]) -> None:
    uvloop.run(
        Load(http).closed((_question(names[n % len(names)]) for n in range(200)), connections=CALLERS)
    )


async def _open(http: str, names: list[str], length: float) -> dict[str, float]:
    asked = (_question(names[n % len(names)]) for n in count())
    tally = await Load(http).open(asked, rate=RATE, seconds=length)
    assert tally.count("right") == tally.total, json.dumps(tally.summary())
    told = tally.summary()["innocent"]
    return {"p50": float(told["p50"] or 0.0), "p99": float(told["p99"] or 0.0)}


async def _closed(http: str, names: list[str], length: float) -> dict[str, float]:
    asked = (_question(names[n % len(names)]) for n in count())
    tally = await Load(http).closed(asked, connections=CALLERS, seconds=length)
    assert tally.count("right") == tally.total, json.dumps(tally.summary())
    return {"rate": tally.count("right") / tally.seconds}


def _question(name: str) -> Question:
    request = post_json(f"/models/{name}/predict", {"x": _X})
    return Question(request, lambda body: body.startswith(b'{"y":['), kind="innocent")


def _of(result: dict[str, Any], kind: str, what: str) -> float | None:
    values = result["beside"]["found"].get(kind, {}).get(what)
    return median(values) if values else None


def _times(result: dict[str, Any], kind: str, what: str) -> float | None:
    alone, beside = _of(result, "alone", what), _of(result, kind, what)
    return None if not alone or beside is None else beside / alone


def tables(result: dict[str, Any]) -> list[Table]:
    again = [
        ("the first model with its requirements", f"{result['first']:,.0f} ms"),
        ("another model with the same, median", f"{median(result['again']):,.1f} ms"),
        ("the longest of them", f"{max(result['again']):,.1f} ms"),
    ]
    for kind in _WHOLE:
        for how, where in (("nothing beside it", "undisturbed"), (f"beside {RATE:.0f} calls/s", "whole")):
            if took := result["beside"].get(where, {}).get(kind):
                again.append((f"the large one, {how}, {kind}", f"{median(took):,.1f} s"))
    rows = []
    for kind in KINDS:
        values = [_of(result, kind, what) for what in ("p50", "p99", "rate", "builds")]
        p50, p99, rate, build = ("–" if each is None else f"{each:,.2f}" for each in values)
        ratio = _times(result, kind, "p99")
        built = len(result["beside"]["found"].get(kind, {}).get("builds", ()))
        rows.append(
            (
                _NAMES[kind],
                f"{p50} · {p99}",
                "" if kind == "alone" or ratio is None else f"{ratio:.2f}×",
                rate,
                f"{built}, each {build} s" if kind.endswith("cache") else "",
            )
        )
    return [
        Table("", ("stage *environment*", "took"), again),
        Table(
            f"Models that serve beside builds of {', '.join(result['requirements'])}",
            ("", f"{RATE:.0f} calls/s: p50 · p99, ms", "p99 is", f"{CALLERS} callers: calls/s", "builds that ended"),
            rows,
        ),
    ]  # fmt: skip


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    return [
        at_most("another model with an equal lock ≤ 50 ms", median(result["again"]), 50, " ms", 1),
        at_most("p99 beside a build, warm cache ≤ 1.5×", _times(result, "warm cache", "p99"), 1.5, "×"),
        at_most("p99 beside a build, empty cache ≤ 1.5×", _times(result, "empty cache", "p99"), 1.5, "×"),
    ]
