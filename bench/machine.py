"""The machine a number was measured on, and what else it was doing."""

import os
import platform
from pathlib import Path

Rows = list[tuple[str, str, str]]  # what, measured, goal or remark


def describe() -> str:
    """Processor, cores, kernel, Python, and the load at the start."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return (
        f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.2f}"
    )
