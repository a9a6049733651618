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

from bench.machine import Rows

MODELYARD = str(Path(sys.executable).with_name("modelyard"))


def answer() -> Rows:
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
            for seed in range(3):
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
    return [
        (f"deploy of {size / 1e6:.0f} MB to first prediction", f"{min(first):.2f} s", "<= 3 s"),
        ("the identical deploy again", f"{min(again):.2f} s", "<= 0.5 s"),
        ("idle platform, resident in all", f"{memory / 1e6:.0f} MB", "<= 200 MB"),
    ]
