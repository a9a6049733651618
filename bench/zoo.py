"""A hundred models in four gigabytes: is every call answered, how soon does one wake, what do the awake notice?

Generated models of three frameworks (ONNX from 1 to 90 MB, scikit-learn, PyTorch), of which a third fits
into the node's budget at once. 20,000 calls of eight callers in a closed loop, the popularity of the
models after Zipf (1.1); every answer is compared. Node and models have both cores, and the load too. The
memory is that of the node and all its executors (proportional set size), looked at ten times a second.
Then, three times in turn: ten awake models under four callers, alone, while as many others are woken a second as
in those 20,000 calls, and while another caller wakes others as fast as it can. And a call to one that was put to sleep, timed, fifteen times for each kind.
"""

import asyncio
import contextlib
import http.client
import json
import random
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.load.loop import Load
from bench.load.question import Question, post_json
from bench.models.zoo import LARGE, Member, X, zoo
from bench.node import node
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.statistics import median, quantile
from bench.status import status
from modelyard.host.memory import proportional_bytes

COUNT, CALLS, CALLERS = 100, 20_000, 8
BUDGET = 4 * 2**30
ZIPF = 1.1
ONCE = True  # one long run, whatever number of rounds is asked for
_WAKES = 15
_RUN = 8.0
_TURNS = 3


def seconds(plan: Plan) -> float:
    return 120 + plan.count(CALLS, 300) / 40 + 2 * _TURNS * plan.seconds(_RUN, 2.0) + 60


def measure(plan: Plan) -> dict[str, Any]:
    models = 12 if plan.quick else COUNT
    budget = BUDGET if not plan.quick else 700_000_000
    with tempfile.TemporaryDirectory() as folder:
        members = zoo(Path(folder) / "models", models)
        random.Random(5).shuffle(members)  # who is popular has nothing to do with what it is
        pools = [member.pool for member in members]
        settings = {"MODELYARD_MEMORY": str(budget)}
        with node(
            Path(folder), *pools, core=None, answers=lambda each: bool(status(each.http)), **settings
        ) as running:
            first = all_served(running.http)
            zipf = uvloop.run(_zipf(running.http, members, plan.count(CALLS, 300)))
            return {
                "models": models,
                "budget": budget,
                "kinds": {kind: sum(m.kind == kind for m in members) for kind in {m.kind for m in members}},
                "first_loads": first,
                **zipf,
                "beside": uvloop.run(_beside(running.http, members, plan, zipf["wakes_a_second"])),
                "wakes": _wakes(running.http, members, 3 if plan.quick else _WAKES),
            }


def all_served(http: str) -> float:
    """Wait until each has been loaded once; seconds that took."""
    started = time.monotonic()
    while True:
        pools = status(http)["pools"]
        if all(pool["footprint"] for pool in pools):
            return time.monotonic() - started
        failing = [pool["failure"] for pool in pools if pool["state"] == "failing"]
        if failing:
            raise RuntimeError(f"{len(failing)} models cannot be loaded: {failing[0]}")
        if time.monotonic() - started > 900:
            raise TimeoutError("the models were not all loaded once within 15 minutes")
        time.sleep(0.5)


def question_of(member: Member, kind: str = "innocent") -> Question:
    def right(body: bytes) -> bool:
        value = next(iter(json.loads(body).values()))
        value = value[0] if isinstance(value, list) else value
        return isinstance(value, float) and abs(value - member.answer) <= 1e-3 * max(
            1.0, abs(member.answer)
        )

    request = post_json(f"/models/{member.pool.endpoint}/predict", {input_name(member): X.tolist()})
    return Question(request, right, kind=kind)


def input_name(member: Member) -> str:
    assert member.pool.signature is not None
    return member.pool.signature.inputs[0].name


async def _zipf(http: str, members: list[Member], calls: int) -> dict[str, Any]:
    chance = random.Random(3)
    weights = [1 / rank**ZIPF for rank in range(1, len(members) + 1)]
    chosen = chance.choices(members, weights, k=calls)
    load = Load(http, patience=60.0)
    samples: list[tuple[float, int, int]] = []
    watcher = asyncio.ensure_future(_watch(http, load, samples))
    before, loads = status(http)["memory"], _metric(http, "modelyard_wakes_total")
    tally = await load.closed((question_of(each) for each in chosen), connections=CALLERS)
    watcher.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watcher
    taken = tally.groups["innocent"].taken["right"]
    return {
        "calls": calls,
        "outcomes": tally.summary()["innocent"],
        "statuses": tally.statuses,
        "seconds": tally.seconds,
        "wakes_a_second": (_metric(http, "modelyard_wakes_total") - loads) / tally.seconds,
        "taken": [quantile(taken, q) for q in (0.5, 0.9, 0.99)],
        "samples": samples,
        "loads": _metric(http, "modelyard_wakes_total"),
        "evictions": _metric(http, "modelyard_evictions_total"),
        "awake": before["awake"],
    }


async def _watch(http: str, load: Load, samples: list[tuple[float, int, int]]) -> None:
    """Seconds since the start, bytes of node and executors, models awake; ten times a second."""
    started = time.monotonic()
    loop = asyncio.get_running_loop()
    while True:
        samples.append((time.monotonic() - started, *await loop.run_in_executor(None, _memory, http)))
        await asyncio.sleep(0.1)


def _memory(http: str) -> tuple[int, int]:
    told = status(http)
    pids = [told["pid"], *(r["pid"] for pool in told["pools"] for r in pool["replicas"] if r["pid"])]
    return sum(proportional_bytes(pid) or 0 for pid in pids), told["memory"]["awake"]


def _metric(http: str, name: str) -> float:
    connection = http_connection(http)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return float(next(line for line in text.splitlines() if line.startswith(name + " ")).split()[1])


def http_connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)


async def _beside(http: str, members: list[Member], plan: Plan, pace: float) -> dict[str, list[float]]:
    """Calls a second to ten models that stay awake: alone, while ``pace`` others are woken a second, and while
    another caller wakes others as fast as it can."""
    popular = [each for each in members if each.kind == "ONNX"][:10]
    others = [each for each in members if each not in popular]
    length = plan.seconds(_RUN, 2.0)
    kinds = ("alone", "beside as many", "beside wakes")
    rates: dict[str, list[float]] = {kind: [] for kind in (*kinds, "as many a second", "wakes a second")}
    for _ in range(1 if plan.quick else _TURNS):
        for kind in kinds:
            warm = (question_of(popular[n % len(popular)]) for n in range(10 * len(popular)))
            await Load(http, patience=60).closed(warm, connections=4)
            asked = (question_of(popular[n % len(popular)]) for n in count())
            load = Load(http, patience=60)
            waking = Load(http, patience=60)
            waker = None
            if kind == "beside as many":
                waker = asyncio.ensure_future(waking.open(_in_turn(others), rate=pace, seconds=length))
            elif kind == "beside wakes":
                waker = asyncio.ensure_future(
                    waking.closed(_in_turn(others), connections=1, seconds=length)
                )
            tally = await load.closed(asked, connections=4, seconds=length)
            rates[kind].append(tally.count("right") / tally.seconds)
            if waker is not None:
                done = await waker
                told = "wakes a second" if kind == "beside wakes" else "as many a second"
                rates[told].append(done.count("right") / done.seconds)
    return rates


def _in_turn(members: list[Member]) -> Iterator[Question]:
    return (question_of(members[n % len(members)]) for n in count())


def _wakes(http: str, members: list[Member], times: int) -> dict[str, list[float]]:
    """Milliseconds of a call to a model that sleeps, by kind."""
    found: dict[str, list[float]] = {}
    for kind in sorted({member.kind for member in members}):
        those = [member for member in members if member.kind == kind]
        found[kind] = []
        for number in range(times):
            member = those[number % len(those)]
            connection = http_connection(http)
            for path in ("load", "unload"):  # its pages are in the machine's memory, its process is gone
                connection.request("POST", f"/v2/repository/models/{member.pool.endpoint}/{path}", b"{}")
                assert connection.getresponse().read() is not None
            question = question_of(member)
            body = question.request.partition(b"\r\n\r\n")[2]
            started = time.perf_counter()
            connection.request(
                "POST",
                f"/models/{member.pool.endpoint}/predict",
                body,
                {"content-type": "application/json"},
            )
            answer = connection.getresponse().read()
            found[kind].append(1e3 * (time.perf_counter() - started))
            assert question.right(answer), answer
            connection.close()
    return found


def _failed(result: dict[str, Any]) -> int:
    return result["calls"] - result["outcomes"]["right"]


def _kept(result: dict[str, Any]) -> float:
    return median(result["beside"]["beside as many"]) / median(result["beside"]["alone"])


def tables(result: dict[str, Any]) -> list[Table]:
    peak = max(size for _, size, _ in result["samples"])
    outcomes = result["outcomes"]
    p50, p90, p99 = result["taken"]
    rows = [
        ("models", ", ".join(f"{count} {kind}" for kind, count in sorted(result["kinds"].items()))),
        ("calls, answered rightly", f"{result['calls']:,}, {outcomes['right']:,}"),
        (
            "wrong · refused · failed · lost · hung",
            " · ".join(str(outcomes[name]) for name in ("wrong", "refused", "failed", "lost", "hung")),
        ),
        ("all of it took", f"{result['seconds']:,.0f} s"),
        ("loads · put to sleep for others", f"{result['loads']:,.0f} · {result['evictions']:,.0f}"),
        ("a call, p50 · p90 · p99", f"{1e3 * p50:,.1f} · {1e3 * p90:,.0f} · {1e3 * p99:,.0f} ms"),
        ("memory at most · budget", f"{peak / 2**30:.2f} · {result['budget'] / 2**30:.2f} GiB"),
        (
            "awake at a time",
            f"{min(n for *_, n in result['samples'])} to {max(n for *_, n in result['samples'])}",
        ),
    ]
    beside = result["beside"]
    rows += [
        ("ten awake models, alone", f"{median(beside['alone']):,.0f} calls/s"),
        (
            "the same beside as many wakes as in those calls",
            f"{median(beside['beside as many']):,.0f} calls/s, {median(beside['as many a second']):.1f} wakes/s",
        ),
        (
            "the same beside one who does nothing but wake others",
            f"{median(beside['beside wakes']):,.0f} calls/s, {median(beside['wakes a second']):.1f} wakes/s",
        ),
    ]
    wakes = [
        (kind, f"{median(times):,.0f}", f"{max(times):,.0f}")
        for kind, times in sorted(result["wakes"].items())
    ]
    return [
        Table("", ("", "measured"), rows),
        Table("A call to a model that sleeps", ("", "p50, ms", "longest, ms"), wakes),
    ]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    peak = max(size for _, size, _ in result["samples"])
    wakes = result["wakes"]
    large = wakes.get(f"ONNX, {LARGE} MB")
    return [
        at_most("0 failed calls", float(_failed(result)), 0, "", 0),
        at_least("awake models keep ≥ 90 % of their throughput", 100 * _kept(result), 90, " %", 0),
        at_most("wake of a 90 MB ONNX model ≤ 300 ms", median(large) if large else None, 300, " ms", 0),
        at_most("wake of a PyTorch model ≤ 1,000 ms", median(wakes["PyTorch"]), 1000, " ms", 0),
        at_most("memory never over the budget", 100 * peak / result["budget"], 100, " %", 1),
    ]
