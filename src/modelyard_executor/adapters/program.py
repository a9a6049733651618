"""One run of a program: started, read, watched, and ended with all that it started."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Set

MOST = 32 * 1024 * 1024  # bytes of what it prints that are kept of each stream
TICK = 0.2  # seconds between two looks whether anybody still waits


class Ended:
    """``status`` is negative for a signal. ``stdout`` and ``stderr`` as text; ``cut``: they were longer."""

    def __init__(self, status: int, stdout: bytes, stderr: bytes, cut: bool) -> None:
        self.status = status
        self.stdout = stdout.decode("utf-8", "replace")
        self.stderr = stderr.decode("utf-8", "replace")
        self.cut = cut


def run(
    argv: Sequence[str],
    folder: Path,
    environment: Dict[str, str],
    stdin: Optional[bytes],
    on_line: Callable[[str], None],
    on_tick: Callable[[], None],
) -> Ended:
    """Run a program in ``folder`` to its end.

    ``on_line`` gets each line that it prints; ``on_tick`` is called every now and then. If either raises, the
    program and what it started are killed. Raises OSError when it cannot be started.
    """
    source: Any = subprocess.DEVNULL
    if stdin is not None:
        # A file rather than a pipe: a program that does not read it blocks nobody.
        path = folder.parent / "stdin"
        path.write_bytes(stdin)
        source = path.open("rb")
    try:
        process = subprocess.Popen(
            list(argv), cwd=str(folder), env=environment, stdin=source, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, preexec_fn=_die_with_parent,
        )  # fmt: skip
    finally:
        if stdin is not None:
            source.close()
    try:
        return _watch(process, on_line, on_tick)
    finally:
        # Whatever it started, too: what its parent left behind is ours (see adopt()).
        end_descendants()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        _reap()


def _watch(
    process: "subprocess.Popen[bytes]", on_line: Callable[[str], None], on_tick: Callable[[], None]
) -> Ended:
    kept = {"stdout": bytearray(), "stderr": bytearray()}
    rest = {"stdout": b"", "stderr": b""}
    cut = False
    ticked = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ, name)
        # What it started and left behind may hold the pipes: its own end is the end.
        while selector.get_map():
            ready = selector.select(TICK)
            for key, _ in ready:
                name = key.data
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                kept[name] += data[: MOST - len(kept[name])]
                cut = cut or len(kept[name]) == MOST
                # A progress bar goes back to the start of its line.
                *lines, rest[name] = (rest[name] + data).replace(b"\r", b"\n").split(b"\n")
                rest[name] = rest[name][-65536:]
                for line in lines:
                    text = line.decode("utf-8", "replace")
                    if name == "stderr":
                        print(text, file=sys.stderr)
                    on_line(text)
            if time.monotonic() - ticked >= TICK:
                ticked = time.monotonic()
                on_tick()
            if not ready and process.poll() is not None:
                break
    while process.poll() is None:  # it closed what it prints to, and goes on
        time.sleep(0.02)
        on_tick()
    return Ended(process.returncode, bytes(kept["stdout"]), bytes(kept["stderr"]), cut)


def adopt() -> None:
    """Have processes whose parent ended become this one's children (prctl(2), PR_SET_CHILD_SUBREAPER): else what
    a program leaves running could not be found any more. Linux only."""
    if _prctl is not None:
        _prctl(36, 1, 0, 0, 0)


def end_descendants() -> None:
    """Kill every process below this one."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _reap() -> None:
    """Take leave of the adopted that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def descendants(pid: int) -> List[int]:
    """The processes below ``pid``, by Linux's /proc; none elsewhere."""
    children: Dict[int, List[int]] = {}
    try:
        names = [path.name for path in Path("/proc").iterdir()]
    except OSError:
        return []
    for name in names:
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            children.setdefault(parent, []).append(int(name))
    found: List[int] = []
    seen: Set[int] = set()
    ahead = [pid]
    while ahead:
        for child in children.get(ahead.pop(), ()):
            if child not in seen:
                seen.add(child)
                found.append(child)
                ahead.append(child)
    return found


_prctl: Any = None
if sys.platform.startswith("linux"):
    import ctypes

    # Looked up here: between fork and exec little may be done.
    _prctl = ctypes.CDLL(None).prctl


def _die_with_parent() -> None:
    """Have the kernel end the program with the executor (prctl(2), PR_SET_PDEATHSIG)."""
    if _prctl is not None:
        _prctl(1, signal.SIGKILL, 0, 0, 0)
