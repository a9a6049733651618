"""A process that has an environment's packages imported, and forks executors that need not import them again.

Asked over a SOCK_SEQPACKET socket, one JSON object a message:

    node -> server   {"modules": [name...], "confine": {}}       first: what to import, in this order, and what it
                                                                 and all of its executors may touch at most
    server -> node   {"awake": n, "missing": [name...]}          ready; with other threads that do not sleep it
                                                                 is of no use
    node -> server   {"environment": {}, "folder": path}         with the descriptors of an executor's socket, of
                                                                 the one beside it, of where its output goes, and
                                                                 of the control groups that it goes into
    server -> node   {"pid": n}

No code of a model runs here: only packages that are installed in the environment are imported, confined as far
as all that is forked here may be (:mod:`modelyard_executor.confine`); each fork confines itself further. A forked
executor is not the server's child but the node's (which is a subreaper, prctl(2)): it lives on when the
server ends, and the node hears how it ended.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import socket
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import FrozenSet, List, Tuple

from . import confine

_MOST = 1 << 20  # bytes of a message
_HUGE, _COLLAPSE = 1 << 21, 25
_OURS = "modelyard_executor."
_FAMILIES = _OURS + "adapters.families"

_before: FrozenSet[str] = frozenset()  # what was imported in the server that this process was forked from
_last = ""  # the last of it
_roots: Tuple[str, ...] = ()  # where its packages are


def _places() -> Tuple[str, ...]:
    """Where packages are installed."""
    import sysconfig  # it remembers that when it is imported: not before they can be

    paths = sysconfig.get_paths()
    return tuple({paths[name] + os.sep for name in ("purelib", "platlib")})


def modules() -> List[str]:
    """The modules of installed packages, and of this one, that are imported now, in the order in which they
    were; without those that the server had which this process was forked from."""
    roots = _roots or _places()
    found = []
    # Newest first, and no further than to what was there before: to hold each module of the server for a moment
    # would write to it, and so copy its page, a thousand pages in all.
    names: List[str] = []
    for name in reversed(list(sys.modules) if not _before else sys.modules):
        if name == _last:
            break
        names.append(name)
    for name in reversed(names):
        if name in _before:
            continue
        module = sys.modules[name]
        if name.startswith(_OURS):
            if not name.startswith(
                _FAMILIES
            ):  # their authors edit them: a model that wakes has the file as it is
                found.append(name)
            continue
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.startswith(roots) and name == getattr(module, "__name__", None):
            found.append(name)
    return found[:5000]


def serve(descriptor: int) -> Tuple[List[int], List[int]]:
    """Fork executors until the node is gone, which ends the process. Returns in each fork: with the
    descriptors of its two sockets, and of its groups."""
    control = socket.socket(fileno=descriptor)
    asked = json.loads(control.recv(_MOST))
    if asked["confine"] is not None:
        confine.enter(asked["confine"], asked["device"])
    confine.packages()
    missing = []
    for name in asked["modules"]:
        try:
            importlib.import_module(name)
        except Exception:  # it was imported by a model in a way of its own
            missing.append(name)
    _warm(asked["modules"])
    global _before, _last, _roots
    _roots = _places()
    _before, _last = frozenset(sys.modules), next(reversed(sys.modules))
    gc.collect()
    getattr(gc, "freeze", gc.collect)()  # pages that the collector does not write to stay shared
    _tidy()
    until = time.monotonic() + 1
    while (awake := _awake()) and time.monotonic() < until:
        time.sleep(0.01)
    control.send(json.dumps({"awake": awake, "missing": missing[:20]}).encode())
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MOST, 8)
        if not message:
            os._exit(0)
        asked = json.loads(message)
        ours, theirs = os.pipe()
        first = os.fork()
        if first == 0:
            between = os.getpid()
            second = os.fork()
            if second == 0:
                os.close(ours)
                os.close(theirs)
                control.close()
                _become(asked, descriptors, between)
                return descriptors[:2], descriptors[3:]
            os.write(theirs, b"%d" % second)
            os._exit(0)
        os.close(theirs)
        pid = int(os.read(ours, 32))
        os.close(ours)
        os.waitpid(first, 0)
        for each in descriptors:
            os.close(each)
        control.send(json.dumps({"pid": pid}).encode())


def _warm(names: List[str]) -> None:
    """Have adapters do here, once for all, what the first model of a process makes their packages do."""
    for name in names:
        warm = getattr(sys.modules.get(name), "warm", None) if name.startswith(_OURS) else None
        if warm is not None:
            try:
                warm()
            except Exception as error:  # each fork does it by itself, then, and tells what is wrong
                print("modelyard_executor: %s cannot be made warm: %s" % (name, error), file=sys.stderr)


def _tidy() -> None:
    """Make this process cheap to fork.

    What imports have freed is put together and given back now: each fork would do that on its own for its first
    large piece, and copy every page with a free one on it (malloc_trim(3), of glibc). Then memory is put into huge
    pages: a fork copies one entry for each instead of 512 (madvise(2), MADV_COLLAPSE, from Linux 6.1).
    """
    with contextlib.suppress(AttributeError, OSError, ValueError):
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        with open("/proc/self/maps") as file:
            lines = [line.split() for line in file]
        for span, rights, _, _, inode, *_ in lines:
            if rights != "rw-p" or inode != "0":
                continue
            begin, end = (int(each, 16) for each in span.split("-"))
            for place in range(-(-begin // _HUGE) * _HUGE, end - _HUGE + 1, _HUGE):
                libc.madvise(ctypes.c_size_t(place), ctypes.c_size_t(_HUGE), _COLLAPSE)


def _awake() -> int:
    """How many other threads of this process do not sleep. One that sleeps holds no lock that a fork would
    find locked for ever, as far as can be seen from here: ONNX Runtime has one that waits for work."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != os.getpid():
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            count += state != "S"
    return count


def _become(asked: dict, descriptors: List[int], between: int) -> None:
    """An executor like one that was started anew: its session, folder, variables, output, chance."""
    while os.getppid() == between:  # until it is gone, and the node is the parent
        time.sleep(0.0002)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(descriptors[2], 1)
    os.dup2(descriptors[2], 2)
    os.close(descriptors[2])
    # LC_CTYPE is what Python itself may have set at its start (PEP 538).
    kept = {name: value for name, value in os.environ.items() if name == "LC_CTYPE"}
    os.environ.clear()
    os.environ.update({**kept, **asked["environment"]})
    os.chdir(asked["folder"])
    tempfile.tempdir = None
    # What packages had finalized at the end of the server's process is not this one's to take apart: PyTorch's
    # 134 libraries of operators cost 30 ms of a processor, each time that a model is put to sleep.
    for each in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        each.atexit = False
    for name, seed in (("random", "seed"), ("numpy.random", "seed"), ("torch", "seed")):
        if name in sys.modules:
            getattr(sys.modules[name], seed)()
