"""`python -m bench plots`: pictures for the page, from what is kept in bench/results.

Drawn by matplotlib in an environment of its own; one SVG per question in docs/performance.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.peers.peer import CACHE
from bench.results import load

FOLDER = Path(__file__).parents[1] / "docs" / "performance"
_REQUIREMENTS = ("matplotlib>=3.9,<4",)
# Reads [{"path", "title", "axis", "bars": [[name, value, ours]], "lines": {name: [[x, y]]}, "x"}].
_DRAW = """
import json, sys
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "modelyard"
matplotlib.rcParams["font.size"] = 10
import matplotlib.pyplot as plt

for one in json.load(sys.stdin):
    if one.get("bars"):
        bars = sorted(one["bars"], key=lambda bar: bar[1])
        figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.36 * len(bars)))
        colours = ["#1f6feb" if ours else "#9aa4b2" for _, _, ours in bars]
        drawn = axes.barh([name for name, _, _ in bars], [value for _, value, _ in bars], color=colours)
        axes.bar_label(drawn, [one["format"].format(value) for _, value, _ in bars], padding=3)
        axes.margins(x=0.14)
        axes.set_xlabel(one["axis"])
    else:
        figure, axes = plt.subplots(figsize=(7.5, 3.2))
        for name, points in one["lines"].items():
            axes.plot([x for x, _ in points], [y for _, y in points], label=name, marker=one.get("marker"))
        axes.set_xlabel(one["x"])
        axes.set_ylabel(one["axis"])
        axes.set_ylim(bottom=0)
        if len(one["lines"]) > 1:
            axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title(one["title"], loc="left", fontsize=11)
    figure.tight_layout()
    figure.savefig(one["path"], metadata={"Date": None})
    plt.close(figure)
"""


def plots() -> list[Path]:
    """Draw what there are results for; the pictures that were written."""
    figures = [figure for figure in (make() for make in _FIGURES) if figure is not None]
    if not figures:
        return []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        figure["path"] = str(FOLDER / f"{figure['name']}.svg")
    subprocess.run([_python(), "-c", _DRAW], input=json.dumps(figures), text=True, check=True)
    return [Path(figure["path"]) for figure in figures]


def _python() -> str:
    folder = CACHE / "plots"
    python = folder / "bin" / "python"
    if not (folder / "installed").is_file():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run(
            [uv, "--quiet", "venv", "--clear", "--python", sys.executable, str(folder)], check=True
        )
        subprocess.run(
            [uv, "--quiet", "pip", "install", "--python", str(python), *_REQUIREMENTS], check=True
        )
        (folder / "installed").touch()
    return str(python)


def overhead() -> dict[str, Any] | None:
    result = load("overhead")
    if result is None:
        return None
    titles = {"modelyard": "Modelyard", **result["titles"]}
    bars = [
        [titles[name], cells["json 32"]["rate"], name == "modelyard"]
        for name, cells in result["servers"].items()
        if "json 32" in cells
    ]
    return {
        "name": "overhead", "title": "Small model, V2 JSON, 32 connections, server on one core",
        "axis": "requests a second", "bars": bars, "format": "{:,.0f}",
    }  # fmt: skip


def mixed_lengths() -> dict[str, Any] | None:
    from bench import mixed_lengths as question

    result = load("mixed_lengths")
    if result is None:
        return None
    limit = max(result["limits"].values())
    bars = []
    for row in result["runs"]:
        title = "Modelyard" if row == question.OURS else result["titles"][row]
        extra = ", no batches" if row.endswith("no batches") else ""
        rate = question.figure(result, row, "rate") or 0.0
        if rate:
            bars.append([title + extra, rate / limit, row == question.OURS])
    return {
        "name": "mixed_lengths", "title": "MiniLM, texts of mixed lengths, one a call, 64 callers",
        "axis": "share of the offline limit", "bars": bars, "format": "{:.2f}",
    }  # fmt: skip


def useful_share() -> dict[str, Any] | None:
    result = load("useful_share")
    if result is None:
        return None
    bars = [
        [name, sum(run["share"] for run in runs) / len(runs), name == "ours"]
        for name, runs in result["ways"].items()
    ]
    return {
        "name": "useful_share", "title": "20,000 lengths: share of computed tokens that is not padding",
        "axis": "useful share", "bars": bars, "format": "{:.3f}",
    }  # fmt: skip


def devices() -> dict[str, Any] | None:
    from bench.statistics import median

    result = load("devices")
    if result is None:
        return None
    one = median(result["rates"]["1"])
    points = [[int(case), median(rates) / one] for case, rates in result["rates"].items() if case.isdigit()]
    ideal = [[count, count] for count, _ in points]
    return {
        "name": "devices", "title": "Simulated devices, mixed lengths", "axis": "times one device",
        "x": "devices", "lines": {"ideal": ideal, "measured": points}, "marker": "o",
    }  # fmt: skip


def endurance() -> dict[str, Any] | None:
    result = load("endurance")
    if result is None:
        return None
    points = [[done, size / 1e6] for done, size in result["samples"]]
    return {
        "name": "endurance", "title": "Node and executor, resident memory", "axis": "MB",
        "x": "calls answered", "lines": {"resident": points},
    }  # fmt: skip


def zoo() -> dict[str, Any] | None:
    result = load("zoo")
    if result is None:
        return None
    every = max(1, len(result["samples"]) // 800)
    samples = result["samples"][::every]
    budget = result["budget"] / 2**30
    return {
        "name": "zoo", "title": "A hundred models: memory of node and executors", "axis": "GiB",
        "x": "seconds",
        "lines": {
            "taken": [[second, size / 2**30] for second, size, _ in samples],
            "budget": [[samples[0][0], budget], [samples[-1][0], budget]],
        },
    }  # fmt: skip


def zoo_wakes() -> dict[str, Any] | None:
    from bench.statistics import median

    result = load("zoo")
    if result is None:
        return None
    bars = [[kind, median(times), True] for kind, times in result["wakes"].items()]
    return {
        "name": "zoo_wakes", "title": "A call to a model that sleeps, p50", "axis": "ms", "bars": bars,
        "format": "{:,.0f}",
    }  # fmt: skip


def store() -> dict[str, Any] | None:
    from bench.statistics import median

    result = load("store")
    if result is None:
        return None

    def speed(*way: str) -> float:
        values = []
        for each in result["rounds"]:
            for step in way:
                each = each[step]
            values.append(each)
        return result["bytes"] / median(values) / 1e6

    bars = [
        ["hashed, written, flushed: nothing else", speed("floor"), False],
        ["Modelyard: taken in", speed("base", "taken"), True],
        ["Modelyard: put together of pieces", speed("sibling", "laid_out"), True],
        ["cp, flushed", speed("cp_flushed"), False],
    ]
    for name, told in result["peers"].items():
        if "failed" not in told:
            bars.append([f"{name}: taken in", result["bytes"] / told["seconds"] / 1e6, False])
    return {
        "name": "store", "title": f"{result['bytes'] / 1e9:.1f} GB of weights", "axis": "MB/s", "bars": bars,
        "format": "{:,.0f}",
    }  # fmt: skip


def uploads() -> dict[str, Any] | None:
    from bench.statistics import quantile

    result = load("uploads")
    if result is None:
        return None
    told = {f"Modelyard ({name})": found for name, found in result["found"].items()}
    if result["peer"] is not None and "failed" not in result["peer"]:
        told["MLflow (looks at nothing)"] = result["peer"]
    quantiles = [number / 100 for number in range(1, 101)]
    lines = {
        name: [[100 * q, quantile(found["times"], q)] for q in quantiles] for name, found in told.items()
    }
    return {
        "name": "uploads", "title": f"{result['callers']:,} uploads at once", "axis": "seconds at most",
        "x": "% of the uploads", "lines": lines,
    }  # fmt: skip


def analysis() -> dict[str, Any] | None:
    from bench.statistics import median

    result = load("analysis")
    if result is None:
        return None
    bars = []
    for kind, told in result["found"].items():
        name = f"{kind}, {result['bytes'][kind] / 1e9:.1f} GB"
        bars.append([f"{name}: analysis", median(told["seconds"]) * 1e3, True])
        bars.append([f"{name}: whole command", median(told["command"]) * 1e3, True])
    return {
        "name": "analysis", "title": "Saying what the weights of a language model are, p50", "axis": "ms",
        "bars": bars, "format": "{:,.0f}",
    }  # fmt: skip


def registry_search() -> dict[str, Any] | None:
    result = load("registry_search")
    if result is None:
        return None
    ways = {
        "requests": "as a client asks", "alone": "the search alone", "beside": "the search beside a writer",
    }  # fmt: skip
    bars = [
        [f"{setting}: {told}", found[way]["p95"], True]
        for setting, found in result["found"].items()
        for way, told in ways.items()
    ]
    return {
        "name": "registry_search", "title": f"A page of 50 among {result['versions']:,} versions, p95",
        "axis": "ms", "bars": bars, "format": "{:,.1f}",
    }  # fmt: skip


_FIGURES = (
    overhead, mixed_lengths, useful_share, devices, endurance, zoo, zoo_wakes, store, uploads, analysis,
    registry_search,
)  # fmt: skip
