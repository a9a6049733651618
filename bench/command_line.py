"""How long does the command line keep a person waiting? `modelyard --help`, wall time."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.machine import Rows


def answer() -> Rows:
    """Twenty starts each; an empty Python beside it is the limit."""
    modelyard = str(Path(sys.executable).with_name("modelyard"))
    return [
        ("modelyard --help, median", f"{_median([modelyard, '--help']) * 1e3:.0f} ms", "<= 150"),
        ("limit: python -c pass", f"{_median([sys.executable, '-c', 'pass']) * 1e3:.0f} ms", ""),
    ]


def _median(command: list[str]) -> float:
    seconds: list[float] = []
    for _ in range(20):
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
