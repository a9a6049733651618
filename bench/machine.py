"""The machine a number was measured on, and what else it was doing."""

import os
import platform
import time
from pathlib import Path


def machine() -> dict[str, object]:
    """Processor, cores, memory (bytes), kernel, Python, load average and date (UTC) of this moment."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


def describe(found: dict[str, object] | None = None) -> str:
    """:func:`machine` as a line to read."""
    found = found or machine()
    return (
        f"{found['processor']}, {found['cores']} cores, {int(found['memory']) / 2**30:.0f} GiB, "  # pyright: ignore
        f"Linux {found['kernel']}, Python {found['python']}, load average {found['load']} at the start, "
        f"{found['date']} UTC"
    )
