"""h2load on a core of its own: HTTP/2, which is how gRPC travels; one call repeated by every connection.

A gRPC call that fails is an HTTP 200 all the same, so the caller checks an answer before and after.
"""

import subprocess
import tempfile
from pathlib import Path

from bench.cores import LOAD_CORE, on
from bench.load.measured import Measured
from bench.load.target import Target
from bench.statistics import quantile


def h2load(target: Target, *, connections: int, seconds: float) -> Measured:
    """One call at a time on each connection, in a closed loop."""
    if target.body is None:
        raise ValueError("a gRPC call has a body")
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(target.body)
        headers = [part for name, value in target.headers.items() for part in ("-H", f"{name}: {value}")]
        whole = max(1, round(seconds))
        command = ["h2load", "-t1", f"-c{connections}", "-m1", "-D", str(whole), "-d", str(body)]
        command += [f"--log-file={log}", *headers, target.url]
        subprocess.run(
            on(LOAD_CORE, command), capture_output=True, text=True, check=True, timeout=seconds + 30
        )
        return parsed(log.read_text(), whole)


def parsed(log: str, seconds: float) -> Measured:
    """h2load's log: start, HTTP status and microseconds of every answer, by tabs."""
    good: list[float] = []
    errors = 0
    for line in log.splitlines():
        _, status, taken = line.split("\t")
        if status == "200":
            good.append(int(taken) / 1e3)
        else:
            errors += 1
    if not good:
        raise RuntimeError(f"h2load got no good answer ({errors} bad)")
    return Measured(len(good) / seconds, quantile(good, 0.5), quantile(good, 0.99), errors)
