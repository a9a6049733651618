"""What do the innocent notice? Poison items, an executor killed every second, half of the callers leaving.

Two simulated devices (2 ms and 20 µs a token), an open loop well below what they can. The same calls
are sent without the faults: nobody is poison, nobody leaves, nothing is killed. Innocent is who stays
and sends a good item. Runs of both kinds alternate.
"""

import asyncio
import contextlib
import os
import random
import signal
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from bench.load.loop import Load, endless
from bench.load.question import Question
from bench.load.tally import Tally
from bench.models import simulated
from bench.node import node
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.statistics import median
from bench.status import executors

LAW = {"fixed_ms": 2.0, "per_padded_us": 20.0}
RATE = 200.0  # calls a second; two devices alone could compute over 400
POISON = 0.01
KILL_EVERY = 1.0
_RUN = 20.0
_KINDS = ("without faults", "with faults")


def seconds(plan: Plan) -> float:
    return plan.repeats * len(_KINDS) * (plan.seconds(_RUN, 4.0) + 4)


def measure(plan: Plan) -> dict[str, Any]:
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
    for round_ in range(plan.repeats):
        for kind in _KINDS:
            with tempfile.TemporaryDirectory() as folder:
                pool = simulated.pool(Path(folder), law=LAW, replicas=2, faults={"raise": "poison"})
                with node(Path(folder), pool, core=None) as running:
                    faults = kind == "with faults"
                    length = plan.seconds(_RUN, 4.0)
                    tally, kills = uvloop.run(_one(running.http, faults, length, round_))
                    runs[kind].append(
                        {"kinds": tally.summary(), "kills": kills, "statuses": tally.statuses}
                    )
    return {"law": LAW, "rate": RATE, "poison": POISON, "kill_every": KILL_EVERY, "runs": runs}


async def _one(http: str, faults: bool, seconds: float, seed: int) -> tuple[Tally, int]:
    killer = asyncio.ensure_future(_kill(http, seed)) if faults else None
    load = Load(http, patience=20.0)
    tally = await load.open(endless(_maker(faults, seed)), rate=RATE, seconds=seconds, seed=seed)
    kills = 0
    if killer is not None:
        killer.cancel()
        kills = await killer
    return tally, kills


def _maker(faults: bool, seed: int):
    """Question n: the same kind of caller and length in both runs, whatever becomes of it."""

    def make(index: int) -> Question:
        chance = random.Random(f"{seed} {index}")
        length = int(min(400, max(40, chance.lognormvariate(4.1, 0.6))))
        if chance.random() < POISON:
            if faults:
                return simulated.question(index, length, mark="poison", kind="poison", expects=500)
            return simulated.question(index, length, kind="poison")
        if chance.random() < 0.5:
            leave = chance.uniform(0.0, 0.01) if faults else None
            return simulated.question(index, length, kind="leaver", leave_after=leave)
        return simulated.question(index, length)

    return make


async def _kill(http: str, seed: int) -> int:
    """Kill one executor every KILL_EVERY seconds until cancelled; how many."""
    chance, kills = random.Random(seed), 0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(KILL_EVERY)
            pids = await asyncio.to_thread(executors, http)
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(pids), signal.SIGKILL)
                    kills += 1
    return kills


def _share(run: dict[str, Any]) -> float:
    """Of the innocent calls, how many got their right answer."""
    innocent = run["kinds"]["innocent"]
    asked = sum(innocent[name] for name in ("right", "wrong", "refused", "failed", "lost", "hung"))
    return innocent["right"] / asked


def _total(runs: list[dict[str, Any]], outcome: str, kinds: tuple[str, ...] | None = None) -> int:
    return sum(
        group[outcome]
        for run in runs
        for kind, group in run["kinds"].items()
        if kinds is None or kind in kinds
    )


def tables(result: dict[str, Any]) -> list[Table]:
    rows = []
    for kind, runs in result["runs"].items():
        innocent = [run["kinds"]["innocent"] for run in runs]
        rows.append(
            (
                kind,
                f"{100 * median([_share(run) for run in runs]):.2f} %",
                f"{median([each['p50'] for each in innocent]):.1f} · {median([each['p99'] for each in innocent]):.1f}",
                str(_total(runs, "wrong")),
                str(_total(runs, "hung")),
                " · ".join(
                    str(_total(runs, name, ("innocent",))) for name in ("refused", "failed", "lost")
                ),
                str(_total(runs, "right", ("poison",))),
                str(sum(run["kills"] for run in runs)),
            )
        )
    header = (
        "", "innocent answered rightly", "p50 · p99 of the innocent, ms", "wrong answers", "hangs",
        "innocent refused · failed · lost", "poison answered as it should", "executors killed",
    )  # fmt: skip
    return [Table("", header, rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    good, bad = (result["runs"][kind] for kind in _KINDS)
    ratio = median([_share(run) for run in bad]) / median([_share(run) for run in good])
    return [
        at_least("goodput of the innocent ≥ 99 % of that without faults", 100 * ratio, 99, " %"),
        at_most("wrong answers: 0", float(_total(bad, "wrong")), 0, "", 0),
        at_most("hangs: 0", float(_total(bad, "hung")), 0, "", 0),
    ]
