"""What happens at three times the capacity? Goodput, and how soon those are told who cannot be served.

Two simulated devices of 5 ms a call, alone in their batch, so that the capacity is the model's and known
from a closed loop. Then an open loop at three times that; every caller would wait half a second.
"""

import tempfile
from pathlib import Path
from typing import Any

import uvloop

from bench.load.loop import Load, endless
from bench.load.tally import Tally
from bench.models import simulated
from bench.node import node
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.statistics import median, quantile
from modelyard.core.deployment import ServingOptions

LAW = {"fixed_ms": 0.0, "per_padded_us": 100.0}
LENGTH = 50  # bytes of a text: 5 ms of a device
TIMES = 3.0
TIMEOUT = 0.5
_RUN = 10.0


def seconds(plan: Plan) -> float:
    return plan.repeats * (plan.seconds(_RUN / 2, 2.0) + plan.seconds(_RUN, 3.0) + 6)


def measure(plan: Plan) -> dict[str, Any]:
    rounds = []
    for round_ in range(plan.repeats):
        with tempfile.TemporaryDirectory() as folder:
            serving = ServingOptions(timeout=TIMEOUT)
            pool = simulated.pool(Path(folder), law=LAW, replicas=2, serving=serving)
            with node(Path(folder), pool, core=None) as running:
                rounds.append(uvloop.run(_one(running.http, plan, round_)))
    return {"law": LAW, "times": TIMES, "timeout": TIMEOUT, "rounds": rounds}


async def _one(http: str, plan: Plan, seed: int) -> dict[str, Any]:
    questions = endless(lambda index: simulated.question(index, LENGTH))
    # As many callers as keep both devices busy without a deep queue; the first second warms up.
    await Load(http).closed(questions, connections=16, seconds=1.0)
    calm = await Load(http).closed(questions, connections=16, seconds=plan.seconds(_RUN / 2, 2.0))
    capacity = calm.count("right") / calm.seconds
    seconds = plan.seconds(_RUN, 3.0)
    tally = await Load(http).open(
        questions, rate=TIMES * capacity, seconds=seconds, seed=seed, limit=20_000
    )
    return {
        "capacity": capacity,
        # Only what came while calls came: the queue's rest afterwards is no goodput.
        "goodput": tally.rate(0.0, seconds),
        "offered": tally.total / seconds,
        # Whoever waits for a deadline in vain was refused too, only late.
        "refused_p50": _quantile(tally, 0.5),
        "refused_p99": _quantile(tally, 0.99),
        "right_p99": tally.milliseconds("innocent", "right", 0.99),
        **_counts(tally),
    }


def _quantile(tally: Tally, q: float) -> float | None:
    taken = tally.groups["innocent"].taken
    late = taken["refused"] + taken["failed"]
    return quantile(late, q) * 1e3 if late else None


def _counts(tally: Tally) -> dict[str, Any]:
    names = ("right", "wrong", "refused", "failed", "lost", "hung")
    return {**{name: tally.count(name) for name in names}, "statuses": tally.statuses}


def _median(result: dict[str, Any], what: str) -> float | None:
    found = [each[what] for each in result["rounds"] if each[what] is not None]
    return median(found) if found else None


def tables(result: dict[str, Any]) -> list[Table]:
    def figure(what: str, unit: str) -> str:
        value = _median(result, what)
        return "–" if value is None else f"{value:,.1f}{unit}"

    rows = [
        ("capacity (closed loop)", figure("capacity", " /s")),
        ("offered", figure("offered", " /s")),
        ("right answers while that was offered", figure("goodput", " /s")),
        ("refusals, p50", figure("refused_p50", " ms")),
        ("refusals, p99", figure("refused_p99", " ms")),
        ("right answers, p99", figure("right_p99", " ms")),
        ("refused late, by their deadline (or failed)", figure("failed", "")),
        ("wrong · lost · hung", " · ".join(figure(name, "") for name in ("wrong", "lost", "hung"))),
    ]
    return [Table("", ("", "median"), rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    share = median([each["goodput"] / each["capacity"] for each in result["rounds"]])
    return [
        at_least("goodput at 3 × capacity ≥ 95 % of capacity", 100 * share, 95, " %", 1),
        at_most("refused calls answered in ≤ 10 ms (p99)", _median(result, "refused_p99"), 10, " ms"),
    ]
