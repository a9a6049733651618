"""Load from wrk on a core of its own."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

SERVER_CORE, LOAD_CORE = 0, max(0, (os.cpu_count() or 1) - 1)

_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = io.open(%s):read("*a")
"""


class Measured(NamedTuple):
    """``rate`` in requests a second, ``p50`` and ``p99`` in milliseconds."""

    rate: float
    p50: float
    p99: float
    errors: int


def wrk(url: str, body: object | None, *, connections: int, seconds: int) -> Measured:
    """Run wrk against ``url``; POST ``body`` as JSON when there is one."""
    with tempfile.TemporaryDirectory() as folder:
        script: list[str] = []
        if body is not None:
            content = Path(folder, "body.json")
            content.write_text(json.dumps(body))
            Path(folder, "post.lua").write_text(_SCRIPT % json.dumps(str(content)))
            script = ["-s", str(Path(folder, "post.lua"))]
        done = subprocess.run(
            [
                "taskset",
                "-c",
                str(LOAD_CORE),
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{seconds}s",
                "--latency",
                *script,
                url,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    text = done.stdout
    errors = sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    errors += sum(
        int(n) for line in re.findall(r"Socket errors: (.*)", text) for n in re.findall(r"\d+", line)
    )
    return Measured(
        float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), _ms(text, "50%"), _ms(text, "99%"), errors
    )


def _ms(text: str, quantile: str) -> float:
    value, unit = re.search(rf"{re.escape(quantile)}\s+([\d.]+)(us|ms|s)\b", text).groups()
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]
