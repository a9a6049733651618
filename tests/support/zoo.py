"""Models that take memory, and what is asked of them in the tests of who has it."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from modelyard.core.deployment import Scaling
from modelyard.core.routes import Pool
from support.models import function_pool
from support.node import NodeProcess, wait_until

BALLAST = 100  # MB that each model takes beside its interpreter


def heavy(
    folder: Path,
    name: str,
    *,
    seconds: float = 0.0,
    load: float = 0.0,
    timeout: float = 60.0,
    **scaling: float,
) -> Pool:
    """A model that takes memory, some time to be loaded, and some for each call."""
    code = (
        f"import time\nfrom pathlib import Path\nBALLAST = bytearray(b'x') * {BALLAST * 10**6}\ntime.sleep({load})\n"
        f"open({str(folder / 'loads')!r}, 'a').write('.')\n"
        f"def predict(x: float):\n    time.sleep({seconds})\n    return x + 1\n"
    )
    pool = function_pool(folder, code, name=name, timeout=timeout)
    return msgspec.structs.replace(pool, scaling=Scaling(**scaling), memory=(BALLAST + 20) * 10**6)  # type: ignore[arg-type]


def zoo(folder: Path, count: int, **changes: float) -> list[Pool]:
    return [heavy(folder / f"m{number}", f"m{number}", **changes) for number in range(count)]


def states(node: NodeProcess) -> dict[str, str]:
    return {pool.endpoint: pool.state for pool in node.status().pools}


def settled(node: NodeProcess) -> dict[str, str]:
    """The states, when every model has served once."""
    return wait_until(
        lambda: None if {"starting", "waking"} & {*(found := states(node)).values()} else found,
        what="all to serve",
    )


def call(node: NodeProcess, name: str, x: float = 1.0) -> None:
    status, answer = node.post(f"/models/{name}/predict", {"x": x})
    assert (status, answer["output"]) == (200, x + 1), answer


def under_load(
    node: NodeProcess, names: list[str], seconds: float = 8.0, *, enough: int = 11
) -> dict[str, int]:
    """How many calls each has answered to two callers of its own that never pause, as soon as all have answered
    ``enough``, and when the time is over."""
    until = time.monotonic() + seconds
    counts = dict.fromkeys(names, 0)

    def load(name: str) -> None:
        while time.monotonic() < until and min(counts.values()) < enough:
            call(node, name)
            counts[name] += 1

    with ThreadPoolExecutor(2 * len(names)) as clients:
        list(clients.map(load, 2 * names))
    return counts
