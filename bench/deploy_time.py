"""How long from `modelyard deploy` to the first good prediction? A 90 MB ONNX model, platform up.

Also: the identical deploy again, and the memory of the platform with nothing deployed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.plan import Plan
from bench.results import Table, Verdict, at_most
from bench.statistics import median

MODELYARD = str(Path(sys.executable).with_name("modelyard"))


def seconds(plan: Plan) -> float:
    return 15 + 4 * plan.count(5, 1)


def measure(plan: Plan) -> dict[str, Any]:
    """The environment is built by a first, small model; each large one has its own weights."""
    from support.models import save_mlp

    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "MODELYARD_HOME": f"{folder}/home",
            "MODELYARD_CONTROL_PORT": "0",
            "MODELYARD_NODE_PORT": "0",
            "MODELYARD_GRPC_PORT": "0",
        }

        def run(*arguments: str) -> str:
            return subprocess.run(
                [MODELYARD, *arguments], env=environment, capture_output=True, text=True, check=True
            ).stdout

        try:
            run("up")
            time.sleep(3)
            memory = json.loads(run("status", "--json"))["memory_bytes"]
            run("deploy", str(save_mlp(Path(folder, "small.onnx"))), "--name", "small")
            node = json.loads(run("status", "--json"))["programs"]["node"]["url"]
            first, again = [], []
            for seed in range(plan.count(5, 1)):
                path = save_mlp(Path(folder, f"large-{seed}.onnx"), seed=seed + 1, sizes=(4096, 4096, 1400))
                size = path.stat().st_size
                started = time.perf_counter()
                run("deploy", str(path), "--name", f"large-{seed}")
                request = urllib.request.Request(
                    f"{node}/models/large-{seed}/predict",
                    json.dumps({"x": [0.5] * 4096}).encode(),
                    {"Content-Type": "application/json"},
                )
                assert len(json.load(urllib.request.urlopen(request))["y"]) == 1400
                first.append(time.perf_counter() - started)
                started = time.perf_counter()
                run("deploy", str(path), "--name", f"large-{seed}")
                again.append(time.perf_counter() - started)
        finally:
            subprocess.run([MODELYARD, "down"], env=environment, capture_output=True)
    return {
        "megabytes": size / 1e6,
        "first": median(first),
        "again": median(again),
        "idle_megabytes": memory / 1e6,
    }


def tables(result: dict[str, Any]) -> list[Table]:
    rows = [
        (
            f"`modelyard deploy` of {result['megabytes']:.0f} MB to the first good prediction",
            f"{result['first']:.2f} s",
        ),
        ("the identical `modelyard deploy` again, whole command", f"{result['again']:.2f} s"),
        ("platform with nothing deployed, resident in all", f"{result['idle_megabytes']:.0f} MB"),
    ]
    return [Table("", ("", "median"), rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    return [
        at_most("deploy to first prediction ≤ 3 s", result["first"], 3, " s"),
        at_most("identical deploy ≤ 0.5 s", result["again"], 0.5, " s"),
        at_most("idle platform ≤ 200 MB", result["idle_megabytes"], 200, " MB", 0),
    ]
