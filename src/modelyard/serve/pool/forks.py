"""Fork servers: processes with an environment's packages imported, from which executors are forked.

One for each environment, number of threads and device (:mod:`modelyard_executor.forkserver`). It is started
when an environment is started in for the second time, imports what its executors were seen to import, and
is let go of when nobody has asked it for IDLE seconds, or when memory is wanted. Where anything is amiss
(a package starts threads, the system is no Linux), executors are started anew, as without it.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from modelyard.host.memory import proportional_bytes
from modelyard.serve.pool import offspring
from modelyard.serve.pool.bounds import Bounds
from modelyard.serve.pool.environment import environment

log = logging.getLogger("modelyard.forks")

IDLE = 600.0  # seconds
READY_WITHIN = 120.0  # seconds for its imports
FORK_WITHIN = 5.0
MANY = 20  # modules that a server lacks before it is worth another one
TOLERATED = 3  # servers that ended, of one kind, before there is none any more


class Key(NamedTuple):
    """What executors of one server have in common."""

    python: str
    threads: int
    device: str
    bounds: Bounds | None


class Descriptors(NamedTuple):
    """What an executor is given to inherit: its two sockets, and the control groups that it goes into."""

    sockets: tuple[int, int]
    groups: tuple[int, ...] = ()


class Forked:
    """An executor's process that was forked: what the node uses of a Popen."""

    def __init__(self, pid: int, stdout: BinaryIO) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None

    def wait(self) -> int:
        """How it ended; it has, or this blocks."""
        if self.returncode is None:
            try:
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:  # somebody else has heard it
                self.returncode = -signal.SIGKILL
        return self.returncode


class ForkServers:
    """Those of a node. All methods run on the event loop's thread."""

    def __init__(self, command: Callable[[str], list[str]], folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._modules: dict[Key, dict[str, None]] = {}
        self._starts: dict[Key, int] = {}
        self._servers: dict[Key, _Server] = {}
        self._unfit: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._count = 0  # servers started, of all keys
        self._possible = offspring.adopt()  # those that are forked are orphans first

    def seen(self, key: Key, modules: Sequence[str]) -> None:
        """An executor of ``key`` has loaded its model, and has imported these."""
        self._modules.setdefault(key, {}).update(dict.fromkeys(modules))

    async def fork(self, key: Key, folder: Path, descriptors: Descriptors) -> Forked | None:
        """An executor with these descriptors, from the server of ``key``; None when there is none yet."""
        self._starts[key] = self._starts.get(key, 0) + 1
        server = self._servers.get(key)
        if server is not None and server.ready and server.made != made(key.python):
            # It may read the folder that was removed, and not the one that is there now.
            log.info("an environment was built anew; so is its fork server", extra={"python": key.python})
            self._drop(key)
            server = None
        if server is None:
            if (
                self._possible
                and self._starts[key] > 1
                and self._modules.get(key)
                and key not in self._unfit
            ):
                self._start(key)
            return None
        if not server.ready:
            return None
        try:
            return await asyncio.wait_for(server.fork(key, folder, descriptors), FORK_WITHIN)
        except (OSError, ValueError, TimeoutError) as error:
            if self._servers.get(key) is not server:
                # Another caller has let go of it, or memory was wanted: that is no second failure.
                return None
            log.warning("a fork server is let go of", extra={"python": key.python, "error": repr(error)})
            self._failures[key] = failures = self._failures.get(key, 0) + 1
            if failures == TOLERATED:
                self._unfit.add(key)
            self._drop(key)
            return None

    def _start(self, key: Key) -> None:
        self._count += 1
        server = self._servers[key] = _Server(
            self._command,
            self._folder / f"forks-{self._count}",
            tuple(self._modules[key]),
            made(key.python),
        )
        server.task = asyncio.create_task(self._open(key, server), name=f"fork server of {key.python}")

    async def _open(self, key: Key, server: "_Server") -> None:
        try:
            awake = await asyncio.wait_for(server.open(key), READY_WITHIN)
        except (OSError, ValueError, TimeoutError) as error:
            self.unfit(key, repr(error))
            return
        if awake:
            # Only the thread that forks is in the new process: a lock that another holds stays locked there.
            self.unfit(key, f"{awake} threads of its packages are awake")

    def unfit(self, key: Key, why: str) -> None:
        """Executors of ``key`` are started anew from now on."""
        log.warning("no fork server for this environment", extra={"python": key.python, "why": why})
        self._unfit.add(key)
        self._drop(key)

    def look(self) -> int:
        """Let go of those that nobody asks, and of those that lack what other models of their environment
        import, so that another one has it; what those that stay take, in bytes."""
        offspring.look()
        now = time.monotonic()
        for key, server in list(self._servers.items()):
            lacks = len(self._modules[key].keys() - set(server.modules))
            if (now - server.asked > IDLE or lacks >= MANY) and not server.busy:
                self._drop(key)
        return sum(server.bytes() for server in self._servers.values())

    def shrink(self) -> bool:
        """Let go of all, for their memory is wanted; whether there were any. What they forked lives on."""
        idle = [key for key, server in self._servers.items() if not server.busy]
        for key in idle:
            self._drop(key)
        return bool(idle)

    def _drop(self, key: Key) -> None:
        if (server := self._servers.pop(key, None)) is not None:
            server.close()

    def close(self) -> None:
        """End all."""
        for key in list(self._servers):
            self._drop(key)


def made(python: str) -> tuple[int, ...]:
    """Changes when the environment of this interpreter is removed and built again in the same place."""
    for path in (Path(python).parent.parent / "pyvenv.cfg", Path(python)):
        with contextlib.suppress(OSError):
            status = path.stat()
            return status.st_dev, status.st_ino, status.st_mtime_ns
    return ()


class _Server:
    def __init__(
        self,
        command: Callable[[str], list[str]],
        folder: Path,
        modules: tuple[str, ...],
        made: tuple[int, ...],
    ) -> None:
        self.modules = modules  # what it was asked to import
        self.made = made  # which of the environments that were built there it was started in
        self.ready = False
        self.asked = time.monotonic()
        self.task: asyncio.Task[None] | None = None
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._turn = asyncio.Lock()

    async def open(self, key: Key) -> int:
        """Start it; how many other threads are awake in it when all is imported (0: it may fork)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._socket = ours
        self._folder.mkdir(parents=True, exist_ok=True)
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a millisecond
                [*self._command(key.python), "--fork-server", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._folder,
                env=environment(self._folder, key.threads, key.device),
                start_new_session=True,
            )  # fmt: skip
        loop = asyncio.get_running_loop()
        offspring.started(self._process.pid)
        asked = {"modules": self.modules, "confine": key.bounds, "device": key.device}
        await loop.sock_sendall(ours, msgspec.json.encode(asked))
        awake = int(json.loads(await loop.sock_recv(ours, 1 << 20))["awake"])
        self.ready = awake == 0
        return awake

    async def fork(self, key: Key, folder: Path, descriptors: Descriptors) -> Forked:
        """One executor. Raises OSError or ValueError when the server is not what it was."""
        async with self._turn:
            if self._socket is None:
                raise ConnectionError("it has been let go of")
            self.asked = time.monotonic()
            output, theirs = os.pipe()
            try:
                asked = {"environment": environment(folder, key.threads, key.device), "folder": str(folder)}
                with offspring.birth():
                    socket.send_fds(
                        self._socket,
                        [json.dumps(asked).encode()],
                        [*descriptors.sockets, theirs, *descriptors.groups],
                    )
                    told = await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16)
                    pid = int(json.loads(told)["pid"])
                    offspring.started(pid)
                return Forked(pid, os.fdopen(output, "rb", buffering=0))
            except BaseException:
                os.close(output)
                raise
            finally:
                os.close(theirs)

    @property
    def busy(self) -> bool:
        """Whether it starts, or forks."""
        return not self.ready or self._turn.locked()

    def bytes(self) -> int:
        """What it takes that is not shared with what it forked."""
        return 0 if self._process is None else proportional_bytes(self._process.pid) or 0

    def close(self) -> None:
        """End it."""
        self.ready = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            offspring.ended(self._process.pid)
        shutil.rmtree(self._folder, ignore_errors=True)
