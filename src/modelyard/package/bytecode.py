"""The bytecode of an environment, compiled behind its first model: executors may not write into an environment, so
what is not compiled there they compile again at each start.

Nothing of the environment is run. The work is done in a process of its own at the lowest priority, which ends with
the one that asked for it; what it did not come to is done the next time that the environment is asked for.
"""

import contextlib
import os
import py_compile
import subprocess
import sys
import threading
from importlib.util import cache_from_source
from pathlib import Path

_DONE = ".bytecode"  # all of the environment is compiled; the file says how many bytes that takes
_running: dict[Path, subprocess.Popen[bytes]] = {}
_lock = threading.Lock()


def compile_behind(folder: Path) -> None:
    """See to it that the environment in ``folder`` is compiled, some time; returns at once."""
    with _lock:
        running = _running.get(folder)
        if (folder / _DONE).exists() or (running is not None and running.poll() is None):
            return
        with contextlib.suppress(OSError):  # without it everything goes on, a little slower
            _running[folder] = process = subprocess.Popen(
                [str(folder / "bin" / "python"), "-S", "-I", __file__, str(os.getpid())],
                cwd=folder,  # it follows the folder when that is moved away to be removed
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            threading.Thread(target=_wait, args=(folder, process), daemon=True).start()


def compiled_bytes(folder: Path) -> int:
    """What compiling the environment in ``folder`` took of the disk; 0 until it is done."""
    try:
        return int((folder / _DONE).read_text() or "0")
    except (OSError, ValueError):
        return 0


def stop(folder: Path) -> None:
    """Compile nothing in ``folder`` any more: it is removed."""
    with _lock:
        process = _running.get(folder)
    if process is not None:
        process.kill()
        process.wait()


def _wait(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    with _lock:
        if _running.get(folder) is process:
            del _running[folder]


def main(parent: int) -> None:
    """Compile what lies in the working folder, while ``parent`` lives."""
    os.nice(19)
    size = 0
    for path in sorted(Path("lib").glob("python*/site-packages/**/*.py")):
        if os.getppid() != parent:
            return
        with contextlib.suppress(
            OSError, ValueError, py_compile.PyCompileError
        ):  # templates, tests of parsers
            compiled = Path(cache_from_source(str(path)))
            if not compiled.exists():
                py_compile.compile(str(path), doraise=True, quiet=2)
            size += compiled.stat().st_size
    Path(_DONE).write_text(str(size))


if __name__ == "__main__":
    main(int(sys.argv[1]))
