"""What does serving cost beside computing? A tiny model, one row a call; every server whole on one core.

The perceptron takes a few microseconds, so what is measured is the server: V2 as JSON, with raw
tensors (binary), over gRPC; at 1 and at 32 connections; wrk and h2load on the other core.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.load.h2load import h2load
from bench.load.measured import Measured
from bench.load.wrk import wrk
from bench.models import mlp
from bench.node import node
from bench.peers import PEERS
from bench.peers.peer import NotStarted, Running
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.runs import Runs

OURS = "modelyard"
CONNECTIONS = (1, 32)
_WARM, _RUN = 1.0, 4.0


def seconds(plan: Plan) -> float:
    names = _peers(plan)
    cells = sum(len(PEERS[name].speaks) for name in names) + 3
    each = sum(plan.seconds(_RUN) if count > 1 else plan.seconds(_RUN / 2) for count in CONNECTIONS)
    return plan.repeats * (cells * (each + _WARM) + 7.0 * (len(names) + 1))


def _peers(plan: Plan) -> list[str]:
    """Those that can serve any model."""
    return [name for name, peer in PEERS.items() if peer.speaks and plan.wants(name)]


def measure(plan: Plan) -> dict[str, Any]:
    runs = Runs()
    missing: dict[str, str] = {}
    names = [OURS, *_peers(plan)]
    for name in names[1:]:
        PEERS[name].install()
    for _ in range(plan.repeats):
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    _one(name, Path(folder), plan, runs, missing)
                except NotStarted as trouble:
                    missing[name] = str(trouble).splitlines()[
                        0
                    ]  # the rest, with this machine's paths, was printed
                    print(trouble, file=sys.stderr, flush=True)
    return {
        "servers": runs.medians(),
        "titles": {name: PEERS[name].title for name in names[1:]},
        "apart": [name for name in names[1:] if PEERS[name].apart],
        "missing": missing,
    }


def _one(name: str, folder: Path, plan: Plan, runs: Runs, missing: dict[str, str]) -> None:
    """Start one server, ask everything it speaks, stop it."""
    file = mlp.path(folder)
    wanted = mlp.expected(file)
    if name == OURS:
        server = node(folder, mlp.pool(folder), answers=mlp.answers(file, "/v2/models/{task}/infer"))
        path, body, speaks = "/v2/models/{task}/infer", "v2", ("json", "binary", "grpc")
    else:
        peer = PEERS[name]
        server = peer.running("mlp", file, folder, mlp.answers(file, peer.path, peer.body))
        path, body, speaks = peer.path, peer.body, peer.speaks
    with server as running:
        for protocol in speaks:
            try:
                _protocol(name, protocol, (path, body), running, wanted, plan, runs)
            except (OSError, ValueError, ModuleNotFoundError) as trouble:
                missing[f"{name}, {protocol}"] = str(trouble)[:300]


def _protocol(
    name: str, protocol: str, way: tuple[str, str], running: Running, wanted: Any, plan: Plan, runs: Runs
) -> None:
    """Both connection counts. Raises ValueError when an answer, before or after, is wrong."""
    if protocol == "grpc":
        target, load, ask = mlp.grpc_target(running.grpc or ""), h2load, mlp.ask_grpc
    else:
        made = (
            mlp.json_target(running.http, *way) if protocol == "json" else mlp.binary_target(running.http)
        )
        target, load, ask = made, wrk, mlp.ask
    if not mlp.right(ask(target), wanted):
        raise ValueError("a wrong answer")
    load(target, connections=32, seconds=_WARM)
    found: list[tuple[int, Measured]] = []
    for count in CONNECTIONS:
        length = plan.seconds(_RUN if count > 1 else _RUN / 2)
        found.append((count, load(target, connections=count, seconds=length)))
    if not mlp.right(ask(target), wanted):
        raise ValueError("a wrong answer after the load")
    for count, run in found:
        runs.add(name, f"{protocol} {count}", run)


def tables(result: dict[str, Any]) -> list[Table]:
    servers = result["servers"]
    out: list[Table] = []
    for protocol, title in (("json", "V2 JSON"), ("binary", "V2 binary"), ("grpc", "V2 gRPC")):
        rows = []
        ours = servers.get(OURS, {}).get(f"{protocol} 32")
        for name, cells in servers.items():
            many, one = cells.get(f"{protocol} 32"), cells.get(f"{protocol} 1")
            if many is None or one is None:
                continue
            ratio = f"{ours['rate'] / many['rate']:.2f}×" if ours and many["rate"] and name != OURS else ""
            rows.append(
                (_title(result, name), f"{many['rate']:,.0f}", ratio, f"{many['p50']:.2f} · {many['p99']:.2f}",
                 f"{one['p50']:.3f} · {one['p99']:.3f}", str(many["errors"] + one["errors"]))
            )  # fmt: skip
        if rows:
            header = (
                "",
                "requests/s, 32 connections",
                "we are",
                "p50 · p99, ms",
                "1 connection, p50 · p99, ms",
                "errors",
            )
            out.append(Table(title, header, rows))
    if result["missing"]:
        rows = [(name, why.splitlines()[0]) for name, why in result["missing"].items()]
        out.append(Table("Not measured", ("", "why"), rows))
    return out


def _title(result: dict[str, Any], name: str) -> str:
    return "Modelyard" if name == OURS else result["titles"][name]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    servers = result["servers"]

    def figure(name: str, cell: str, what: str) -> float | None:
        return servers.get(name, {}).get(cell, {}).get(what)

    def ratio(name: str) -> float | None:
        ours, theirs = figure(OURS, "json 32", "rate"), figure(name, "json 32", "rate")
        return ours / theirs if ours and theirs else None

    others = [ratio(name) for name in result["apart"] if not name.startswith("triton") and name != "mosec"]
    lowest = min((value for value in others if value is not None), default=None)
    triton = min(
        (value for name in servers if name.startswith("triton") if (value := ratio(name))), default=None
    )
    p50s = [figure(name, "json 1", "p50") for name in servers if name.startswith("triton")]
    p50 = min((value for value in p50s if value is not None), default=None)
    ours = figure(OURS, "json 1", "p50")
    theirs = f" (Triton: {p50:.3f} ms)" if p50 else ""
    return [
        at_least("V2 JSON, 32 connections, one core: ≥ 1.5 × Triton", triton, 1.5, "×"),
        at_least("≥ 2 × mosec", ratio("mosec"), 2.0, "×"),
        at_least(
            "≥ 4 × every other Python server with a process of its own for the model", lowest, 4.0, "×"
        ),
        at_most("p50 at 1 connection ≤ Triton's", ours if p50 else None, p50 or 0.0, f" ms{theirs}", 3),
    ]
