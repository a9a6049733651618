"""The bytecode of an environment, compiled behind its first model: executors may not write into an environment, so
what is not compiled there they compile again at each start.

What another environment has compiled of the very same files is linked from there: bytecode names its source by time
and size, and is told anew by Python where that lies.

Nothing of the environment is run. The work is done in a process of its own at the lowest priority, which ends with
the one that asked for it; what it did not come to is done the next time that the environment is asked for.
"""

import contextlib
import os
import py_compile
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
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


def borrow(folder: Path, others: Sequence[Path]) -> None:
    """Link into the environment in ``folder`` what ``others`` have compiled of its packages: of those whose files are
    links to the same ones (of uv's cache). What cannot be linked is compiled some time, as ever."""
    for init in sorted(folder.glob("lib/python*/site-packages/*/__init__.py")):
        package = init.parent.relative_to(folder)
        for other in others:
            if _is_same(init, other / package / "__init__.py") and any(
                (other / package).glob("__pycache__/*")
            ):
                _link(folder, other, package)
                break


def _link(folder: Path, other: Path, package: Path) -> None:
    for compiled in (other / package).rglob("__pycache__/*.pyc"):
        cache = compiled.parent.relative_to(other)
        source = cache.parent / (compiled.name.partition(".")[0] + ".py")
        if _is_same(folder / source, other / source):
            with contextlib.suppress(OSError):  # there already, or gone with the other one
                (folder / cache).mkdir(exist_ok=True)
                (folder / cache / compiled.name).hardlink_to(compiled)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


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
    _give_way()
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


def _give_way() -> None:
    """What host/background.py does for others, for good: this process imports nothing of ours."""
    os.nice(19)
    for _ in range(20):  # the kernel takes ten such wishes a second, from all users together
        try:
            Path("/proc/self/autogroup").write_text("19")
            break
        except BlockingIOError:
            time.sleep(0.2)
        except OSError:
            break
    if hasattr(os, "sched_setaffinity"):  # one processor, so that models have the others undisturbed
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    main(int(sys.argv[1]))
