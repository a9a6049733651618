"""Which core serves and which one loads: never the same, where there are two."""

import os

SERVER_CORE = 0
LOAD_CORE = max(0, (os.cpu_count() or 1) - 1)


def on(core: int | None, command: list[str]) -> list[str]:
    """``command``, bound to one core with all that it starts; None: free to use all of them."""
    cores = str(core) if core is not None else f"0-{(os.cpu_count() or 1) - 1}"
    return ["taskset", "-c", cores, *command]
