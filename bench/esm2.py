"""Proteins through ESM-2 (8M and 35M): beside the method of an earlier service, and beside the limit.

500 sequences over and over, of lognormal length (median 300, 95th percentile 900, at most 1,022 residues), weights drawn
at random, float32, one thread of one core. One sequence a call from 64 callers, and 50 sequences a call
from 2 callers. The other service is written as the README of ESM2_MultiGPU_Inference describes its own:
contiguous chunks, a window of 50 ms and 64 sequences, padding to the longest: its first answers come when
64 sequences were computed as long as the longest of them. The limit is our adapter alone
in a process, the sequences sorted, at the best token budget. Every embedding is compared.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.load.loop import Load, endless
from bench.load.question import Question
from bench.models import esm2
from bench.models.alone import Alone
from bench.node import node
from bench.peers import SEED003
from bench.peers.asking import ask_once
from bench.peers.peer import NotStarted, Running
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.statistics import median

SIZES = ("8M", "35M")
SERVERS = {"modelyard": "Modelyard", "seed003": "ESM2_MultiGPU_Inference's method"}
CALLERS, BATCH_CALLERS, BATCH = 64, 2, 50
_WARM, _RUN, _LIMIT = 4.0, 20.0, 10.0


def seconds(plan: Plan) -> float:
    # The callers' last calls are waited for: 64 sequences, or twice 50, at perhaps 0.05 s (8M) and
    # 0.3 s (35M) each; the right answers are computed one by one at that price, too.
    last = (64 + 100) * (0.05 + 0.3) / len(SIZES)
    runs = plan.repeats * len(SERVERS) * (12 + last + 2 * _WARM + 2.5 * plan.seconds(_RUN, 4.0))
    return len(SIZES) * (20 + 5 * plan.seconds(_LIMIT, 1.0) + runs) + _count(plan) * (0.05 + 0.3)


def _count(plan: Plan) -> int:
    return 60 if plan.quick else esm2.COUNT


def measure(plan: Plan) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    if plan.wants("seed003"):
        SEED003.install()
    for size in SIZES:
        alone = esm2.in_process(size, plan.seconds(_LIMIT, 1.0), _count(plan))
        runs: dict[str, list[dict[str, Any]]] = {}
        missing: dict[str, str] = {}
        for _ in range(plan.repeats):
            for name in SERVERS:
                if name != "modelyard" and not plan.wants(name):
                    continue
                try:
                    runs.setdefault(name, []).append(_one(name, size, alone, plan))
                except NotStarted as trouble:
                    missing[name] = str(trouble)[-600:]
        sizes[size] = {"limits": alone.rates, "runs": runs, "missing": missing}
    return {"sizes": sizes}


def _one(name: str, size: str, alone: Alone, plan: Plan) -> dict[str, Any]:
    """Start one server, ask it both ways, stop it."""
    sequences, lengths = esm2.proteins(_count(plan))
    singles = [
        esm2.single(sequence, length, wanted)
        for sequence, length, wanted in zip(sequences, lengths, alone.reference, strict=True)
    ]
    batches = [
        esm2.batch(sequences[at : at + BATCH], lengths[at : at + BATCH], alone.reference[at : at + BATCH])
        for at in range(0, len(sequences), BATCH)
    ]
    with (
        tempfile.TemporaryDirectory() as scratch,
        _server(name, size, Path(scratch), singles[0]) as running,
    ):
        return uvloop.run(_load(running.http, singles, batches, plan.seconds(_RUN, 4.0)))


@contextlib.contextmanager
def _server(name: str, size: str, scratch: Path, first: Question) -> Iterator[Running]:
    def answers(running: Running) -> bool:
        return ask_once(running.http, first)

    if name == "modelyard":
        with node(scratch, esm2.pool(size), answers=answers) as running:
            yield running
    else:
        with SEED003.running("esm2", esm2.folder(size), scratch, answers) as running:
            yield running


async def _load(http: str, singles: list[Question], batches: list[Question], run: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for way, questions, callers in (("single", singles, CALLERS), ("batch", batches, BATCH_CALLERS)):
        cycle = endless(lambda index, questions=questions: questions[index % len(questions)])
        # A batch takes seconds: its work is counted when it is whole, so it gets longer to even out.
        length = run if way == "single" else 1.5 * run
        tally = await Load(http, patience=300.0).closed(cycle, connections=callers, seconds=_WARM + length)
        end = _WARM + length if way == "single" else tally.seconds
        start = _WARM if way == "single" else 0.0
        found[way] = {
            "rate": tally.rate(start, end),
            "p50": tally.milliseconds("innocent", "right", 0.5),
            "p99": tally.milliseconds("innocent", "right", 0.99),
            "not_right": tally.total - tally.count("right"),
        }
    return found


def _figure(of: dict[str, Any], name: str, way: str, what: str) -> float | None:
    found = [run[way][what] for run in of["runs"].get(name, []) if run[way][what] is not None]
    return median(found) if found else None


def _rate(of: dict[str, Any], name: str, way: str) -> float | None:
    """Residues a second. Where no call of the callers' first ones ended within the run, by how long these
    took: each caller made one."""
    rate, last = _figure(of, name, way, "rate"), _figure(of, name, way, "p99")
    if rate == 0 and way == "single" and last is not None:
        return sum(esm2.proteins()[1][:CALLERS]) / (last / 1e3)
    return rate


def tables(result: dict[str, Any]) -> list[Table]:
    out: list[Table] = []
    for size, of in result["sizes"].items():
        limit = max(of["limits"].values())
        rows = []
        for way, title in (("single", "one a call"), ("batch", f"{BATCH} a call")):
            for name in of["runs"]:
                rate = _rate(of, name, way) or 0.0
                p50, p99 = _figure(of, name, way, "p50"), _figure(of, name, way, "p99")
                wrong = sum(run[way]["not_right"] for run in of["runs"][name])
                rows.append(
                    (f"{SERVERS[name]}, {title}", f"{rate:,.0f}", f"{rate / limit:.3f}",
                     "–" if p50 is None or p99 is None else f"{p50:,.0f} · {p99:,.0f}", str(wrong))
                )  # fmt: skip
        best = max(of["limits"], key=of["limits"].__getitem__)
        rows.append((f"limit: sorted, {int(best):,} tokens a batch", f"{limit:,.0f}", "1", "", ""))
        header = ("", "residues/s", "of the limit", "p50 · p99, ms", "not right")
        out.append(Table(f"ESM-2 {size}", header, rows))
        if of["missing"]:
            rows = [(name, why.splitlines()[-1][:200]) for name, why in of["missing"].items()]
            out.append(Table("Not measured", ("", "why"), rows))
    return out


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    found: list[Verdict] = []
    wrong = 0.0
    for size, of in result["sizes"].items():
        for way, title in (("single", "one a call"), ("batch", f"{BATCH} a call")):
            ours, theirs = _rate(of, "modelyard", way), _rate(of, "seed003", way)
            ratio = ours / theirs if ours and theirs else None
            found.append(at_least(f"ESM-2 {size}: ≥ 3 × the window's method, {title}", ratio, 3, "×"))
        ours, limit = _rate(of, "modelyard", "single"), max(of["limits"].values())
        found.append(
            at_least(
                f"ESM-2 {size}: ≥ 0.95 of the offline limit, one a call",
                ours / limit if ours else None,
                0.95,
                "",
                3,
            )
        )
        wrong += sum(
            run[way]["not_right"] for run in of["runs"].get("modelyard", []) for way in ("single", "batch")
        )
    return [*found, at_most("answers not right: 0", wrong, 0, "", 0)]
