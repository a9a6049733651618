"""Does the work spread? 1, 2, 4 and 8 simulated devices, mixed lengths, and one device of eight 3 × slower.

A device takes 5 ms and 50 µs a padded token of sleep, so eight of them fit on two cores; calls come one
by one from a closed loop with 64 callers a device. Tokens a second are counted between a warm-up and
the end, when all devices work. The ideal of eight with a slow one is 7 1/3 devices.
"""

import tempfile
from pathlib import Path
from typing import Any

import uvloop

from bench.lengths import lognormal, offline_limit
from bench.load.loop import Load, endless
from bench.models import simulated
from bench.node import node
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.runs import Samples
from bench.statistics import median
from modelyard.core.deployment import ServingOptions

LAW = {"fixed_ms": 5.0, "per_padded_us": 50.0}
CASES = {"1": (1, None), "2": (2, None), "4": (4, None), "8": (8, None), "8, one 3 × slower": (8, 3.0)}
IDEAL = {"1": 1.0, "2": 2.0, "4": 4.0, "8": 8.0, "8, one 3 × slower": 7 + 1 / 3}
CALLERS = 64
_WARM, _RUN = 4.0, 16.0


def seconds(plan: Plan) -> float:
    return plan.repeats * len(CASES) * (plan.seconds(_WARM, 2.0) + plan.seconds(_RUN, 3.0) + 4)


def measure(plan: Plan) -> dict[str, Any]:
    rates = Samples()
    faults = Samples()
    lengths = lognormal(20_000, median=120, p95=450, seed=0, most=1_000, least=30)
    for _ in range(plan.repeats):
        for case, (devices, slow) in CASES.items():
            with tempfile.TemporaryDirectory() as folder:
                serving = ServingOptions(timeout=120.0, max_queue=4096)
                speeds = [1.0] * (devices - 1) + [slow or 1.0]
                pool = simulated.pool(
                    Path(folder), law=LAW, replicas=devices, serving=serving, speeds=speeds
                )
                with node(Path(folder), pool, core=None) as running:
                    rate, bad = uvloop.run(_one(running.http, devices, lengths, plan))
                    rates.add(case, rate)
                    faults.add(case, bad)
    taken, budget = offline_limit(lengths, simulated.seconds_of(LAW), 256)
    return {
        "law": LAW,
        "limit": sum(lengths) / taken,
        "limit_budget": budget,
        "rates": rates.lists(),
        "not_right": faults.lists(),
    }


async def _one(http: str, devices: int, lengths: list[int], plan: Plan) -> tuple[float, float]:
    """Useful tokens a second, and how many calls got anything but their right answer."""
    warm, run = plan.seconds(_WARM, 2.0), plan.seconds(_RUN, 3.0)

    def make(index: int):
        length = lengths[index % len(lengths)]
        return simulated.question(index, length, weight=length)

    tally = await Load(http).closed(endless(make), connections=CALLERS * devices, seconds=warm + run)
    return tally.rate(warm, warm + run), float(tally.total - tally.count("right"))


def tables(result: dict[str, Any]) -> list[Table]:
    one = median(result["rates"]["1"])
    rows = []
    for case, rates in result["rates"].items():
        times = median(rates) / one
        rows.append(
            (case, f"{median(rates):,.0f}", f"{times:.2f}×", f"{100 * times / IDEAL[case]:.1f} %",
             f"{sum(result['not_right'][case]):.0f}")
        )  # fmt: skip
    limit = result["limit"]
    rows.append(
        ("limit of one: sorted offline, best budget", f"{limit:,.0f}", f"{limit / one:.2f}×", "", "")
    )
    header = ("devices", "useful tokens/s", "of one device", "of the ideal", "answers not right")
    return [Table("", header, rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    one = median(result["rates"]["1"])
    slow = "8, one 3 × slower"
    wrong = sum(sum(counts) for counts in result["not_right"].values())
    return [
        at_least("8 devices ≥ 7.8 × one", median(result["rates"]["8"]) / one, 7.8, "×"),
        at_least(
            "8 devices, one 3 × slower: ≥ 95 % of ideal",
            100 * median(result["rates"][slow]) / one / IDEAL[slow],
            95,
            " %",
            1,
        ),
        at_most("answers not right: 0", wrong, 0, "", 0),
    ]
