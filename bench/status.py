"""What a node under measurement says of itself, and what the kernel says of it."""

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from bench.node import KEY

_PAGE = os.sysconf("SC_PAGE_SIZE")


def status(http: str) -> dict[str, Any]:
    """``GET /node/status``. Raises OSError when the node does not answer."""
    request = urllib.request.Request(f"{http}/node/status", headers={"authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def executors(http: str) -> list[int]:
    """Process ids of the executors that are ready."""
    return [
        replica["pid"]
        for pool in status(http)["pools"]
        for replica in pool["replicas"]
        if replica["state"] == "ready" and replica["pid"] is not None
    ]


def resident(pids: list[int]) -> int:
    """Bytes of these processes in memory; one that has ended counts nothing."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def node_pid(http: str) -> int:
    return int(status(http)["pid"])
