"""How fast are proteins on a GPU? ESM-2 650M in bfloat16, beside the window's method and the device's limit.

Needs a CUDA device and a Python with PyTorch and transformers (`BENCH_GPU_PYTHON`; by default this one);
nothing is downloaded, the weights are drawn at random. See `bench/gpu/run.py`, which also runs by itself on
a machine that has only those two: `PYTHONPATH=src python bench/gpu/run.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.plan import Plan
from bench.results import Table, Verdict, at_least

_PROGRAM = Path(__file__).with_name("run.py")


def python() -> str:
    return os.environ.get("BENCH_GPU_PYTHON", sys.executable)


def available() -> str | None:
    """Why it cannot be asked here; None when it can."""
    code = "import torch, transformers, sys; sys.exit(0 if torch.cuda.is_available() else 3)"
    done = subprocess.run([python(), "-c", code], capture_output=True)
    if done.returncode == 3:
        return "PyTorch sees no CUDA device"
    if done.returncode:
        return f"{python()} has no PyTorch with transformers (name another with BENCH_GPU_PYTHON)"
    return None


def seconds(plan: Plan) -> float:
    return 0.0 if available() else 60 + 3 * plan.repeats * plan.seconds(10.0, 2.0)


def measure(plan: Plan) -> dict[str, Any]:
    """Raises RuntimeError where there is no such device."""
    if (why := available()) is not None:
        raise RuntimeError(why)
    command = [
        python(),
        str(_PROGRAM),
        "--rounds",
        str(plan.repeats),
        "--seconds",
        str(plan.seconds(10.0, 2.0)),
    ]
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": source}, stdout=subprocess.PIPE, check=True, timeout=3600
    )
    return json.loads(done.stdout.splitlines()[-1])


def tables(result: dict[str, Any]) -> list[Table]:
    limit = result["limit"]
    ours = result["ours"]
    rows = [
        (title, f"{result[name]:,.0f}", f"{result[name] / limit:.3f}", f"{ours / result[name]:.2f}×")
        for name, title in (
            ("ours", "Modelyard's adapter and scheduler"),
            ("sorted", "the same adapter, sorted offline"),
            ("window", "windows of 64, padded (transformers)"),
        )
    ]
    rows.append((f"limit: {result['tflops']:.0f} TFLOP/s in matrix products", f"{limit:,.0f}", "1", ""))
    return [Table(result["device"], ("", "useful tokens/s", "of the limit", "we are"), rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    return [at_least("≥ 3 × the window's method", result["ours"] / result["window"], 3, "×")]
