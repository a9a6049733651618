"""Which core serves and which one loads: never the same, where there are two."""

import os

SERVER_CORE = 0
LOAD_CORE = max(0, (os.cpu_count() or 1) - 1)


def on(core: int, command: list[str]) -> list[str]:
    """``command``, bound to one core with all that it starts."""
    return ["taskset", "-c", str(core), *command]
