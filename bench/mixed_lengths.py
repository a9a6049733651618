"""Texts of mixed lengths on a real model: how near to the machine's limit, and how long do they take?

MiniLM (real weights, one ONNX graph for all, one thread of one core), 5,000 texts of lognormal length
(median 60, 95th percentile 250 tokens), one text a call. Closed loop: 64 callers, useful tokens a second; a
second one of 256 callers for the node alone, for the more texts are in view, the better they can be paired.
Open loop: half of the limit's rate, at random moments. The limit is our adapter alone in a process, the
texts sorted, in batches of the best token budget. Peers batch by a window (32 texts, 10 ms), which is what
their pages advise, or not at all where it says so. Every embedding is compared.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from bench.load.loop import Load, endless
from bench.load.question import Question
from bench.models import exporter, minilm
from bench.node import node
from bench.peers import PEERS
from bench.peers.asking import ask_once
from bench.peers.peer import NotStarted, Running
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.statistics import median

OURS = "modelyard"
WINDOW = ("--max-batch", "32", "--max-wait-ms", "10")
SINGLE = ("--max-batch", "1")
# Row of the table: (peer, options of its program, whether it batches by a window).
PEER_ROWS = {
    "triton": ("triton", WINDOW, True),
    "triton, no batches": ("triton", SINGLE, False),
    "mosec": ("mosec", WINDOW, True),
    "litserve": ("litserve", WINDOW, True),
    "mlserver": ("mlserver", WINDOW, True),
    "bentoml": ("bentoml", WINDOW, True),
    "ray": ("ray", WINDOW, True),
    "infinity": ("infinity", WINDOW, True),
    "kserve": ("kserve", SINGLE, False),
    "fastapi": ("fastapi", SINGLE, False),
}
CALLERS, MANY_CALLERS = 64, 256
LOAD_OF_LIMIT = 0.5
_RUN, _WARM, _LIMIT = 20.0, 3.0, 10.0


def _rows(plan: Plan) -> list[str]:
    return [OURS, *(row for row, (peer, _, _) in PEER_ROWS.items() if plan.wants(peer))]


def seconds(plan: Plan) -> float:
    each = 8 + 2 * plan.seconds(_RUN, 3.0) + _WARM + 6
    many = plan.repeats * (_WARM + plan.seconds(_RUN, 3.0))
    return 60 + 6 * plan.seconds(_LIMIT, 1.0) + plan.repeats * len(_rows(plan)) * each + many


def measure(plan: Plan) -> dict[str, Any]:
    count = 100 if plan.quick else minilm.COUNT
    folder, python = minilm.folder(), Path(exporter.python())
    for row in _rows(plan)[1:]:
        PEERS[PEER_ROWS[row][0]].install()
    texts, tokens = minilm.texts(count)
    alone = minilm.in_process(plan.seconds(_LIMIT, 1.0), count)
    reference, limit = alone.reference, alone.limit
    rate = LOAD_OF_LIMIT * limit * count / sum(tokens)
    runs: dict[str, list[dict[str, Any]]] = {}
    missing: dict[str, str] = {}
    for round_ in range(plan.repeats):
        for row in _rows(plan):
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    with _server(row, Path(scratch), folder, python, texts[0], tokens[0], reference[0]) as (
                        running,
                        path,
                        body,
                    ):
                        questions = [
                            minilm.question(text, length, wanted, path, body)
                            for text, length, wanted in zip(texts, tokens, reference, strict=True)
                        ]
                        found = uvloop.run(_one(running.http, questions, rate, plan, round_))
                        if row == OURS:
                            found["many"] = uvloop.run(_closed(running.http, questions, plan, MANY_CALLERS))
                        runs.setdefault(row, []).append(found)
                except NotStarted as trouble:
                    missing[row] = str(trouble)[-600:]
    return {
        "limits": alone.rates,
        "texts_per_second": limit * count / sum(tokens),
        "open_rate": rate,
        "runs": runs,
        "by_window": [row for row in runs if row != OURS and PEER_ROWS[row][2]],
        "titles": {row: PEERS[PEER_ROWS[row][0]].title for row in runs if row != OURS},
        "missing": missing,
    }


@contextlib.contextmanager
def _server(
    row: str, scratch: Path, folder: Path, python: Path, text: str, tokens: int, wanted: np.ndarray
) -> Iterator[tuple[Running, str, str]]:
    """The running server, where its JSON goes, and how that is framed."""
    path, body = "/v2/models/{task}/infer", "ours"
    if row != OURS:
        peer = PEERS[PEER_ROWS[row][0]]
        path, body = peer.path, peer.body
    first = minilm.question(text, tokens, wanted, path, body)

    def answers(running: Running) -> bool:
        return ask_once(running.http, first)

    if row == OURS:
        with node(scratch, minilm.pool(python), answers=answers) as running:
            yield running, path, body
    else:
        options = PEER_ROWS[row][1]
        with PEERS[PEER_ROWS[row][0]].running("texts", folder, scratch, answers, *options) as running:
            yield running, path, body


async def _closed(http: str, questions: list[Question], plan: Plan, callers: int) -> dict[str, Any]:
    run = plan.seconds(_RUN, 3.0)
    cycle = endless(lambda index: questions[index % len(questions)])
    tally = await Load(http).closed(cycle, connections=callers, seconds=_WARM + run)
    return {
        "rate": tally.rate(_WARM, _WARM + run),
        "closed_p50": tally.milliseconds("innocent", "right", 0.5),
        "closed_p99": tally.milliseconds("innocent", "right", 0.99),
        "not_right": tally.total - tally.count("right"),
    }


async def _one(http: str, questions: list[Question], rate: float, plan: Plan, seed: int) -> dict[str, Any]:
    run = plan.seconds(_RUN, 3.0)
    closed = await _closed(http, questions, plan, CALLERS)
    cycle = endless(lambda index: questions[index % len(questions)])
    opened = await Load(http, patience=30.0).open(cycle, rate=rate, seconds=run, seed=seed, limit=20_000)
    return {
        **closed,
        "open_p50": opened.milliseconds("innocent", "right", 0.5),
        "open_p99": opened.milliseconds("innocent", "right", 0.99),
        "open_right": opened.count("right") / opened.total,
    }


def figure(result: dict[str, Any], row: str, what: str) -> float | None:
    found = [run[what] for run in result["runs"].get(row, []) if run[what] is not None]
    return median(found) if found else None


def tables(result: dict[str, Any]) -> list[Table]:
    limit = max(result["limits"].values())
    ours = figure(result, OURS, "rate")
    rows = []
    missing = dict(result["missing"])
    for row in result["runs"]:
        rate = figure(result, row, "rate") or 0.0
        if not rate:
            missing[row] = (
                "no call was answered in a form that our load generator reads (it reads no chunks)"
            )
            continue
        factor = f"{ours / rate:.2f}×" if row != OURS and rate and ours else ""
        title = "Modelyard" if row == OURS else result["titles"][row]
        extra = ", no batches" if row.endswith("no batches") else ""
        rows.append(
            (
                title + extra,
                f"{rate:,.0f}",
                f"{rate / limit:.3f}",
                factor,
                _pair(result, row, "closed"),
                _pair(result, row, "open"),
                f"{100 * (figure(result, row, 'open_right') or 0.0):.1f} %",
                f"{sum(run['not_right'] for run in result['runs'][row])}",
            )
        )
        if row == OURS:
            many = {"runs": {OURS: [run["many"] for run in result["runs"][OURS]]}}
            rate = figure(many, OURS, "rate") or 0.0
            wrong = sum(run["not_right"] for run in many["runs"][OURS])
            title = f"Modelyard, {MANY_CALLERS} callers"
            share = f"{rate / limit:.3f}"
            rows.append((title, f"{rate:,.0f}", share, "", _pair(many, OURS, "closed"), "", "", f"{wrong}"))
    header = (
        "", "useful tokens/s", "of the limit", "we are", "closed: p50 · p99, ms", "open: p50 · p99, ms",
        "open: answered", "not right",
    )  # fmt: skip
    out = [Table("One text a call", header, rows)]
    limits = [(name, f"{value:,.0f}") for name, value in result["limits"].items()]
    out.append(Table("The limit, in process, sorted", ("padded tokens a batch", "useful tokens/s"), limits))
    if missing:
        rows = [(name, why.splitlines()[-1][:200]) for name, why in missing.items()]
        out.append(Table("Not measured", ("", "why"), rows))
    return out


def _pair(result: dict[str, Any], row: str, loop: str) -> str:
    p50, p99 = figure(result, row, f"{loop}_p50"), figure(result, row, f"{loop}_p99")
    return "–" if p50 is None or p99 is None else f"{p50:,.0f} · {p99:,.0f}"


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    ours, limit = figure(result, OURS, "rate"), max(result["limits"].values())
    others = [figure(result, row, "rate") for row in result["by_window"]]
    fastest = max((rate for rate in others if rate), default=None)
    p99s = [figure(result, row, "open_p99") for row in result["by_window"]]
    lowest = min((p99 for p99 in p99s if p99 is not None), default=None)
    p99 = figure(result, OURS, "open_p99")
    many = median([run["many"]["rate"] for run in result["runs"][OURS]])
    return [
        at_least(
            "≥ 0.95 of the offline limit on the CPU, 64 callers",
            ours / limit if ours else None,
            0.95,
            "",
            3,
        ),
        at_least(f"the same, {MANY_CALLERS} callers", many / limit, 0.95, "", 3),
        at_least(
            "≥ 3 × every peer that batches by window", ours / fastest if ours and fastest else None, 3, "×"
        ),
        at_most(
            "at a lower p99 (open loop)",
            p99 if lowest else None,
            lowest or 0.0,
            f" ms (theirs: {lowest or 0:,.0f})",
            0,
        ),
    ]
