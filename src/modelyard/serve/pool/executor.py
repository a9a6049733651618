"""One executor's process: spawned or forked, held within its limits, and ended with all that it started."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from modelyard.core.routes import ExecutorSpec
from modelyard.core.signature import Signature
from modelyard.host.process import cpu_ticks
from modelyard.serve.pool import frames, offspring
from modelyard.serve.pool.bounds import Bounds, around
from modelyard.serve.pool.channel import Channel, Events
from modelyard.serve.pool.environment import environment
from modelyard.serve.pool.forks import Descriptors, Forked, ForkServers, Key
from modelyard.serve.pool.frames import Hello
from modelyard.serve.pool.limits import Limits
from modelyard_executor import wire

log = logging.getLogger("modelyard.executor")

STILL = 10.0  # seconds without a sign of life in which a forked executor that loads is thought to hang

PACKAGE: Final = Path(str(importlib.util.find_spec("modelyard_executor").origin)).parent  # type: ignore[union-attr]


def command(python: str, sockets: Sequence[int] = (), groups: Sequence[int] = ()) -> list[str]:
    """The command line of an executor with these descriptors. Of its environment's packages nothing is looked at
    before it is confined (``-S``)."""
    line = [python, "-S", "-s", "-u", "-X", "faulthandler", str(PACKAGE), *map(str, sockets)]
    return [*line, "--join", *map(str, groups)] if groups else line


class _Line:
    """The two pairs of sockets between the node and one process that may become an executor."""

    def __init__(self) -> None:
        self.ours, their_own = socket.socketpair()
        self.side, their_side = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs = (their_own, their_side)

    @property
    def theirs(self) -> tuple[int, int]:
        """The descriptors that the process is given."""
        own, side = self._theirs
        return own.fileno(), side.fileno()

    def close_theirs(self) -> None:
        """Close them in the node: the process has its own."""
        for each in self._theirs:
            each.close()

    def close(self) -> None:
        """Close all of them here, so that whoever has the other ends hears that nobody is there."""
        self.close_theirs()
        self.ours.close()
        self.side.close()


class ExecutorProcess:
    """One executor. Call :meth:`start`; once it has said HELLO, batches go through its ``channel``, which tells
    of it by ``events``. ``on_output`` gets what it prints, ``on_exit``, exactly once and last, a sentence on how
    the process ended. All on the loop's thread.

    ``known`` is the signature that another process of the same version has found, by trying, in this node's time.
    ``device`` is "cpu", or "cuda:" and what CUDA_VISIBLE_DEVICES calls the one device that it is to see;
    ``cores`` are those that it may run on (None: all); ``bounds`` what it may touch (None: all).
    """

    def __init__(
        self,
        spec: ExecutorSpec,
        *,
        threads: int,
        device: str,
        cores: frozenset[int] | None,
        limits: Limits,
        bounds: Bounds | None,
        folder: Path,
        forks: ForkServers | None = None,
        known: Signature | None = None,
        events: Events,
        on_exit: Callable[[str], None],
        on_output: Callable[[str], None],
    ) -> None:
        self.channel = Channel(events._replace(hello=self._hello), self.kill)
        self._events = events
        self._spec = spec
        self._threads = threads
        self._device = device
        self._cores = cores
        self._limits = limits
        self._bounds = bounds
        self._folder = folder
        self._forks = forks
        self._known = known
        self._on_exit = on_exit
        self._on_output = on_output
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._unlimited: str | None = None  # why it could not be put under its limits
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process, or None before the start."""
        return None if self._process is None else self._process.pid

    @property
    def _key(self) -> Key:
        return Key(self._spec.python, self._threads, self._device, around(self._bounds))

    async def start(self) -> None:
        """Spawn the process and tell it what to load. Raises OSError when it cannot be spawned."""
        loop = asyncio.get_running_loop()
        line = _Line()
        groups: tuple[int, ...] = ()
        try:
            groups = self._limits.open()
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._forks is not None:
                self._process = await self._forks.fork(
                    self._key, self._folder, Descriptors(line.theirs, groups)
                )
            if self._process is None:
                # A server that did not answer in time may have forked all the same, and that process has the ends
                # that the server was sent: it finds nobody at the others, and ends.
                line.close()
                line = _Line()
                # Spawning takes a millisecond; asyncio's own subprocess would reap it behind our back.
                self._process = subprocess.Popen(  # noqa: ASYNC220
                    command(self._spec.python, line.theirs, groups),
                    pass_fds=line.theirs + groups,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    env=environment(self._folder, self._threads, self._device),
                    start_new_session=True,
                )
        except BaseException:
            line.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            line.close_theirs()
            for group in groups:
                os.close(group)
        offspring.started(self._process.pid)
        try:
            ended = os.pidfd_open(self._process.pid)
        except OSError:
            line.close()
            self.kill()
            self._process.wait()
            offspring.ended(self._process.pid)
            raise
        output = asyncio.StreamReader(limit=64 * 1024)
        assert self._process.stdout is not None
        pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), self._process.stdout
        )
        await self.channel.open(self._process.pid, line.ours, line.side)
        self._watcher = loop.create_task(
            self._watch(output, pipe, ended), name=f"watch executor {self.pid}"
        )
        try:
            self._limits.apply(self._process.pid)
            if self._cores is not None:
                # Before it is told what to load: threads inherit it, and it has one only.
                os.sched_setaffinity(self._process.pid, self._cores)
        except OSError as error:
            self._unlimited = f"it could not be put under its limits: {error}"
            self.kill()
            return
        start = frames.Start(
            versions=wire.VERSIONS,
            adapter=self._spec.adapter,
            files=self._spec.files,
            device="cuda:0" if self._device.startswith("cuda:") else "cpu",
            threads=self._threads,
            options=self._spec.options,
            trusted=self._spec.trusted,
            slabs=True,
            computed=True,
            modules=self._forks is not None,
            progress=True,
            confine=self._bounds,
            adopt=not self._limits.grouped,
            known=self._known,
        )
        self.channel.tell(start)
        if isinstance(self._process, Forked):
            loop.call_later(0.5, self._look_at_fork, None, 0)

    def _hello(self, hello: Hello) -> None:
        if self._forks is not None:
            self._forks.seen(self._key, hello.modules)
        self._events.hello(hello)

    def _look_at_fork(self, before: int | None, looks: int) -> None:
        """End a forked process that loads and has computed nothing for STILL seconds: it waits for a lock
        that was held when it was forked, and that nobody opens. The next ones are started anew."""
        assert self._process is not None and self._forks is not None
        if self.channel.hello is not None or self._process.returncode is not None:
            return
        now = cpu_ticks(self._process.pid)
        looks = looks + 1 if now is not None and now == before else 0
        if looks < 2:
            asyncio.get_running_loop().call_later(STILL / 2, self._look_at_fork, now, looks)
            return
        self._forks.unfit(self._key, f"a forked executor that loads its model stood still for {STILL:g} s")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGABRT)  # which has it say where it stood
        asyncio.get_running_loop().call_later(1.0, self.kill)

    def kill(self) -> None:
        """End the process and everything it started, now."""
        if self._process is not None and self._process.returncode is None:
            self._events.gone()
            for end in (os.killpg, os.kill):  # one that was forked has its group a moment later
                with contextlib.suppress(ProcessLookupError):
                    end(self._process.pid, signal.SIGKILL)

    async def closed(self) -> None:
        """Return when the process is gone and ``on_exit`` was called."""
        if self._watcher is not None:
            await asyncio.shield(self._watcher)

    async def _watch(self, output: asyncio.StreamReader, pipe: asyncio.ReadTransport, ended: int) -> None:
        """Pass on what the process prints, until it ends (``ended`` is its pidfd); then say how."""
        process = self._process
        assert process is not None
        reading = asyncio.create_task(self._read_output(output))
        await _readable(ended)
        status = process.wait()
        offspring.ended(process.pid)
        await self._end_offspring(process.pid)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reading, 1.0)
        pipe.close()  # a process that the model let go its own way may hold the other end
        self.channel.close()
        ending = self._ending(status)
        self._limits.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._on_exit(ending)

    async def _end_offspring(self, leader: int) -> None:
        """What the process started and left behind ends with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)
        if not self._limits.grouped:
            await asyncio.to_thread(offspring.end)
        elif not self._limits.empty:
            await asyncio.to_thread(self._limits.end)

    async def _read_output(self, output: asyncio.StreamReader) -> None:
        rest = b""
        while data := await output.read(65536):
            whole, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                self._on_output(whole.decode("utf-8", "replace"))
            elif len(rest) > 65536:
                self._on_output(rest.decode("utf-8", "replace"))
                rest = b""
        if rest:
            self._on_output(rest.decode("utf-8", "replace"))

    def _ending(self, status: int) -> str:
        if self._limits.exceeded() and self._limits.memory is not None:
            return (
                f"it needed more than its memory limit of {self._limits.memory / 2**20:.0f} MiB and was killed; "
                "deploy it with a larger --memory"
            )
        if why := self._unlimited or self.channel.broken:
            return why
        if status < 0:
            return f"it was killed by {signal.Signals(-status).name}"
        return f"it exited with status {status}"


async def _readable(descriptor: int) -> None:
    """Wait until a pidfd says that its process has ended (without reaping it), and close it."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(descriptor, lambda: ended.done() or ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
