"""How long does the command line keep a person waiting? `modelyard --help`, wall time."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.plan import Plan
from bench.results import Table, Verdict, at_most
from bench.statistics import median


def seconds(plan: Plan) -> float:
    return plan.count(20, 3) * 0.4


def measure(plan: Plan) -> dict[str, Any]:
    """Twenty starts each, alternating; an empty Python beside it is the limit."""
    modelyard = str(Path(sys.executable).with_name("modelyard"))
    commands = {"modelyard --help": [modelyard, "--help"], "python -c pass": [sys.executable, "-c", "pass"]}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(plan.count(20, 3)):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            taken[name].append(time.perf_counter() - started)
    return {"milliseconds": {name: median(values) * 1e3 for name, values in taken.items()}}


def tables(result: dict[str, Any]) -> list[Table]:
    rows = [(f"`{name}`", f"{value:.0f} ms") for name, value in result["milliseconds"].items()]
    return [Table("", ("", "median"), rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    help_ms = result["milliseconds"]["modelyard --help"]
    return [at_most("`modelyard --help` ≤ 150 ms", help_ms, 150, " ms", 0)]
