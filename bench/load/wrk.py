"""wrk on a core of its own: HTTP/1.1, one request repeated by every connection."""

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.cores import LOAD_CORE, on
from bench.load.measured import Measured
from bench.load.target import Target

_SCRIPT = """
wrk.method = "POST"
wrk.body = io.open(%s, "rb"):read("*a")
"""


def wrk(target: Target, *, connections: int, seconds: float) -> Measured:
    """Run wrk against ``target`` in a closed loop. Raises CalledProcessError when it cannot connect."""
    with tempfile.TemporaryDirectory() as folder:
        script: list[str] = []
        if target.body is not None:
            content = Path(folder, "body")
            content.write_bytes(target.body)
            lines = _SCRIPT % json.dumps(str(content))
            for name, value in target.headers.items():
                lines += f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n"
            Path(folder, "post.lua").write_text(lines)
            script = ["-s", str(Path(folder, "post.lua"))]
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
        command = on(LOAD_CORE, [*command, *script, target.url])
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)
    return parsed(done.stdout)


_SCRIPT_OF_MANY = """
local requests = {}
for line in io.lines(%s) do
  requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, line)
end
local at = 0
request = function()
  at = at %% #requests + 1
  return requests[at]
end
"""


def wrk_many(url: str, bodies: Sequence[bytes], *, connections: int, seconds: float) -> Measured:
    """The same with many JSON bodies, taken in turn. None of them may hold a line's end."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "bodies")
        lines.write_bytes(b"\n".join(bodies))
        Path(folder, "post.lua").write_text(_SCRIPT_OF_MANY % json.dumps(str(lines)))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
        command = on(LOAD_CORE, [*command, "--timeout", "30s", "-s", str(Path(folder, "post.lua")), url])
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return parsed(done.stdout)


def parsed(text: str) -> Measured:
    """What wrk printed; its rate counts every answer, so the bad ones are taken off.

    Raises ValueError when there was no answer at all.
    """
    errors = sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    total, duration = re.search(r"(\d+) requests in ([\d.]+\w+)", text).groups()
    if not int(total):
        raise ValueError("no answer came within the run")
    rate = (int(total) - errors) / (_ms(duration) / 1e3)
    errors += sum(
        int(n) for line in re.findall(r"Socket errors: (.*)", text) for n in re.findall(r"\d+", line)
    )
    return Measured(rate, _quantile(text, "50%"), _quantile(text, "99%"), errors)


def _quantile(text: str, name: str) -> float:
    return _ms(re.search(rf"{re.escape(name)}\s+([\d.]+\w+)\b", text)[1])


def _ms(text: str) -> float:
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text).groups()
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3, "h": 3600e3}[unit]
