"""Start of an executor: ``python -S -s <this folder> <number of the inherited socket> [<another>] [--join <group>…]``;
with ``--fork-server <number>`` of a process that forks executors (:mod:`modelyard_executor.forkserver`); with
``--held`` of one that only says what it could be confined by, as JSON.

The other socket is the one on which slabs of shared memory are shown; without it there are none. A group is the
descriptor of a control group's list of members, into which it goes.

The folder is run by its path and puts itself, and nothing that lies beside it, where the package is
found: whatever is installed next to Modelyard stays invisible to the model's environment.
"""

import contextlib
import gc
import importlib.util
import json
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, Sequence


def main(sockets: "Sequence[int]", groups: "Sequence[int]") -> int:
    from modelyard_executor import confine, forkserver, loop, shared, wire
    from modelyard_executor.adapter import LoadError
    from modelyard_executor.adapters import create
    from modelyard_executor.adapters.program import adopt
    from modelyard_executor.compute import device_bytes, is_out_of_memory

    _die_with_parent()
    side = sockets[1] if len(sockets) > 1 else None
    if side is not None and not shared.USABLE:
        os.close(side)
        side = None
    channel = wire.Channel(socket.socket(fileno=sockets[0]))
    try:
        confine.join(groups)
        start, _ = channel.receive()
        spoken = set(start["versions"]) & set(wire.VERSIONS)
        if not spoken:
            raise LoadError(
                "the node speaks versions %s of the wire, this executor %s"
                % (start["versions"], list(wire.VERSIONS))
            )
        if start.get("adopt"):
            adopt()
        confined = start.get("confine")
        held = {} if confined is None else confine.enter(confined, start["device"])
        confine.packages()
        adapter: Any = create(start["adapter"])
        options = dict(start["options"], threads=start["threads"], trusted=start["trusted"])
        if hasattr(adapter, "known"):
            adapter.known = start.get("known")
        adapter.load(Path(start["files"]), start["device"], options)
        version = max(spoken)
        hello = {
            "type": "HELLO",
            "version": version,
            "adapter": start["adapter"],
            "signature": adapter.signature(),
            "cost": adapter.cost(),
            "example": adapter.example(),
            "resources": dict({"device_bytes": device_bytes()}, **adapter.resources()),
            "memory": loop.memory_bytes(),
            "tolerance": loop.tolerance(adapter, options, start["device"]),
            "pid": os.getpid(),
            "held": held,
        }
        if start.get("modules"):
            hello["modules"] = forkserver.modules()
        if version >= 2:
            hello.update(depth=wire.DEPTH, streams=loop.streams(adapter), slabs=side is not None)
        channel.send(hello)
    except EOFError:
        return 0
    except BaseException as error:
        # The process edge: whatever stopped the load, a model's sys.exit() too, is told to the node.
        traceback.print_exc()
        sys.stderr.flush()
        code = "load_error" if isinstance(error, LoadError) else type(error).__name__
        if any(is_out_of_memory(each) for each in (error, error.__cause__) if each is not None):
            code = "out_of_memory"
        channel.send(
            {
                "type": "FAILED",
                "code": code,
                "message": (str(error) or type(error).__name__) + confine.hint(error),
                "traceback": traceback.format_exc(),
            }
        )
        return 1
    # A loaded model is not garbage: the collector need not walk it again and again. (PyPy's cannot be told.)
    getattr(gc, "freeze", gc.collect)()
    try:
        slabs = None if side is None else socket.socket(fileno=side)
        # What the device does is not done by the processor that packs the results.
        elsewhere = start["device"] != "cpu" or bool(getattr(adapter, "off_cpu", False))
        loop.serve(
            channel,
            adapter,
            version,
            slabs,
            lend=bool(start.get("slabs")),
            overlap=elsewhere and bool(start.get("computed")),
            progress=bool(start.get("progress")),
        )
    except (EOFError, BrokenPipeError, ConnectionResetError):
        loop.log("the node is gone; stopping")
    return 0


def _die_with_parent() -> None:
    """Have the kernel end this process with the node: a model that computes would never see the socket close.

    Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere the closed socket has to do.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes
    import signal

    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died in between
        os._exit(1)


def _make_importable(folder: Path) -> None:
    """Register ``modelyard_executor`` under its name, without its parent folder on ``sys.path``."""
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != folder]
    if "modelyard_executor" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "modelyard_executor", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["modelyard_executor"] = package
    spec.loader.exec_module(package)


def _end(status: int) -> None:
    """End the process: with what was registered for that, and without taking apart what the kernel frees at
    once anyhow. A framework's modules and threads take up to 200 ms of a processor for it."""
    import atexit

    try:
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _make_importable(Path(__file__).resolve().parent)
    if sys.argv[1] == "--fork-server":
        from modelyard_executor.forkserver import serve

        _die_with_parent()
        _end(main(*serve(int(sys.argv[2]))))
    if sys.argv[1] == "--held":
        from modelyard_executor import confine

        nothing = {"required": False, "network": False, "read": [], "write": []}
        print(json.dumps(confine.enter(nothing)))
        sys.exit()
    _sockets, _, _groups = " ".join(sys.argv[1:]).partition("--join")
    _end(main([int(each) for each in _sockets.split()], [int(each) for each in _groups.split()]))
