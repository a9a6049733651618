"""Does the node find the large batches that an accelerator wants? 8 ms fixed and 1 µs a padded token.

5,000 texts of lognormal length (median 60, 95th percentile 250 bytes, which is what the simulated device
counts), over and over: one text a call from 1,024 and from 4,096 callers (wrk, which compares no answers; a
pass of our own client before it does), and 250 texts a call from 16 callers. In a closed loop the node sees
no more texts at a time than there are callers, and the best batches have 500 texts of one length. The limit
is all the texts sorted offline, in batches of the best budget and as many rows as the node may take, one
after the other without a pause.
Node and executor may use both cores (the load is on one of them).
"""

import tempfile
from pathlib import Path
from typing import Any

import uvloop

from bench.lengths import lognormal, offline_limit
from bench.load.loop import Load, endless
from bench.load.wrk import wrk_many
from bench.models import simulated
from bench.node import node
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.runs import Samples
from bench.statistics import median
from modelyard.core.deployment import ServingOptions

LAW = {"fixed_ms": 8.0, "per_padded_us": 1.0}
CALLERS = (1_024, 4_096)
BATCH_CALLERS, BATCH = 16, 250
ROWS = ServingOptions().max_batch
_BATCHES = f"{BATCH} texts a call, {BATCH_CALLERS} callers"
_WARM, _RUN = 3.0, 10.0


def seconds(plan: Plan) -> float:
    return plan.repeats * (6 + (len(CALLERS) + 1) * (_WARM + plan.seconds(_RUN, 3.0)))


def measure(plan: Plan) -> dict[str, Any]:
    lengths = lognormal(5_000, median=60, p95=250, seed=0, most=1_000, least=12)
    taken, budget = offline_limit(lengths, simulated.seconds_of(LAW), ROWS)
    rates, bad = Samples(), Samples()
    for _ in range(plan.repeats):
        with tempfile.TemporaryDirectory() as folder:
            serving = ServingOptions(timeout=60.0, max_queue=8192)
            pool = simulated.pool(Path(folder), law=LAW, serving=serving)
            # On both cores, the load's too: the process that stands for the device must not wait for the
            # node's turn on a core to end before it begins its next batch.
            with node(Path(folder), pool, core=None) as running:
                _one(running.http, lengths, plan, rates, bad)
    return {
        "law": LAW,
        "limit": len(lengths) / taken,
        "limit_budget": budget,
        "rates": rates.lists(),
        "not_right": bad.lists(),
    }


def _one(http: str, lengths: list[int], plan: Plan, rates: Samples, bad: Samples) -> None:
    run = plan.seconds(_RUN, 3.0)
    checked = (simulated.question(index, length) for index, length in enumerate(lengths))
    tally = uvloop.run(Load(http).closed(checked, connections=256))
    wrong = float(tally.total - tally.count("right"))
    bodies = [simulated.v2_body(simulated.text_of(index, length)) for index, length in enumerate(lengths)]
    for callers in CALLERS:
        wrk_many(http + simulated.PATH, bodies, connections=callers, seconds=_WARM)
        measured = wrk_many(http + simulated.PATH, bodies, connections=callers, seconds=run)
        rates.add(_single(callers), measured.rate)
        bad.add(_single(callers), wrong + float(measured.errors))

    batches = [
        simulated.batch_question(start, lengths[start : start + BATCH])
        for start in range(0, len(lengths), BATCH)
    ]
    questions = endless(lambda index: batches[index % len(batches)])
    tally = uvloop.run(Load(http).closed(questions, connections=BATCH_CALLERS, seconds=_WARM + run))
    rates.add(_BATCHES, tally.rate(_WARM, _WARM + run))
    bad.add(_BATCHES, float(tally.total - tally.count("right")))


def _single(callers: int) -> str:
    return f"one text a call, {callers:,} callers"


def tables(result: dict[str, Any]) -> list[Table]:
    limit = result["limit"]
    rows = [
        (
            name,
            f"{median(rates):,.0f}",
            f"{median(rates) / limit:.3f}",
            f"{sum(result['not_right'][name]):.0f}",
        )
        for name, rates in result["rates"].items()
    ]
    rows.append((f"limit: sorted, {result['limit_budget']:,.0f} padded tokens", f"{limit:,.0f}", "1", ""))
    return [Table("", ("", "texts/s", "of the limit", "answers not right"), rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    best = median(result["rates"][_single(CALLERS[-1])]) / result["limit"]
    wrong = sum(sum(counts) for counts in result["not_right"].values())
    return [
        at_least("≥ 0.95 of the offline limit on a simulated accelerator", best, 0.95, "", 3),
        at_most("answers not right: 0", wrong, 0, "", 0),
    ]
