"""The fronts of a node as the owner of the pools sees them: started, told the table, started again, ended.

They share one listening socket, which the owner binds and does not accept on: a front that is killed takes
its own connections with it, and none that still wait to be accepted.
"""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from modelyard.policy.backoff import Backoff
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.edge.server import Server, most_connections
from modelyard.serve.edge.shared import Admission, Handler
from modelyard.serve.front_channel import (
    Channel,
    Follow,
    Followed,
    FrontEndpoint,
    FrontTable,
    Stop,
    Used,
)

log = logging.getLogger("modelyard.fronts")

LOOK_EVERY = 0.25  # seconds between two looks whether something was learnt that fronts are to know
SYNC_LIMIT = 5.0  # seconds that a change of the table waits for the fronts to have it
START_LIMIT = 30.0
LONGEST_PATH = 100  # bytes of a socket's path that every system takes


class _Running:
    """One front that runs: its process, the channel to it, and how far it has followed."""

    def __init__(self, process: "subprocess.Popen[bytes]", channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.sent = self.followed = 0


class Fronts:
    """``count`` fronts on ``listener``, in front of ``handler`` on a Unix socket of this process.

    ``used`` is told when which client's key was let in by one of them; ``table`` says what they are to serve now; ``max_body`` is the limit on bodies at the shared port.
    """

    def __init__(
        self,
        count: int,
        listener: socket.socket,
        run: Path,
        table: Callable[[], FrontTable],
        handler: Handler,
        max_body: int,
        admit: Admission = lambda request: None,
        used: Callable[[Mapping[str, float]], None] = lambda used: None,
    ) -> None:
        self._listener = listener
        self._run = run
        self._table = table
        self._used = used
        # Raw tensors may be longer than their JSON ("0," is eight bytes as INT64).
        # A model may open sockets of its user's files: what is behind this one is for fronts alone.
        self._server = Server(
            handler,
            8 * max_body + (1 << 20),
            admit=admit,
            max_connections=most_connections(),
            callers=self.pids,
        )
        self._told = FrontTable(generation=-1)
        self._number = 0
        self._path = run
        self._running: dict[int, _Running] = {}
        self._moved = asyncio.Event()  # a front followed, began or ended
        self._stopping: float | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._looker: asyncio.Task[None] | None = None
        self._count = count

    async def start(self) -> None:
        """Start them; returns when all listen. Raises TimeoutError, OSError."""
        inner, self._path = owner_socket(self._run)
        await self._server.start(inner)
        self._keepers = [asyncio.create_task(self._keep(n), name=f"front {n}") for n in range(self._count)]
        self._tell()
        self._looker = asyncio.create_task(self._look_again_and_again())
        async with asyncio.timeout(START_LIMIT):
            while len(self._running) < self._count or not self._in_step():
                self._moved.clear()
                await self._moved.wait()

    async def told(self) -> None:
        """Tell the fronts what the table is now, and wait until they serve by it.

        A front that does not say so in time is ended: it would answer by what is not true any more.
        """
        self._tell()
        try:
            async with asyncio.timeout(SYNC_LIMIT):
                while not self._in_step():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            for running in self._running.values():
                if running.followed < self._number:
                    log.error("a front does not follow; it is ended", extra={"pid": running.process.pid})
                    running.process.kill()

    async def stop(self, limit: float) -> None:
        """Have them answer what is there, up to ``limit`` seconds, and end."""
        started = time.monotonic()
        if self._looker is not None:
            self._looker.cancel()
        self._stopping = limit
        self._listener.close()
        for running in self._running.values():
            running.channel.send(Stop(limit=limit))
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=limit + 1.0)
        for running in self._running.values():
            running.process.kill()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await self._server.stop(max(1.0, limit - (time.monotonic() - started)))
        remove_owner_socket(self._path, self._run)

    def pids(self) -> list[int]:
        """The processes that run."""
        return [running.process.pid for running in self._running.values()]

    def _in_step(self) -> bool:
        return all(running.followed >= self._number for running in self._running.values())

    def _tell(self) -> None:
        table = self._table()
        if table == self._told:
            return
        self._told = table
        self._number += 1
        for running in self._running.values():
            self._send(running)

    def _send(self, running: _Running) -> None:
        running.sent = self._number
        running.channel.send(Follow(number=self._number, table=self._told))

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self._tell()

    async def _keep(self, place: int) -> None:
        """One place: a front in it, and another when that one ends."""
        backoff = Backoff(first=0.1, limit=10.0)
        while self._stopping is None:
            try:
                running = await self._spawn()
            except OSError as error:
                log.error("a front cannot be started", extra={"error": str(error)})
                await asyncio.sleep(backoff.failed(time.monotonic()))
                continue
            self._running[place] = running
            self._send(running)
            if self._stopping is not None:
                running.channel.send(Stop(limit=self._stopping))
            while (message := await running.channel.receive()) is not None:
                if isinstance(message, Used):
                    self._used(message.used)
                elif isinstance(message, Followed):
                    if running.followed == 0:
                        log.info("a front listens", extra={"pid": running.process.pid})
                        backoff.succeeded(time.monotonic())
                    running.followed = message.number
                    self._moved.set()
            running.channel.close()
            status = await asyncio.to_thread(_ended, running.process)
            del self._running[place]
            self._moved.set()
            if self._stopping is None:
                wait = backoff.failed(time.monotonic())
                log.warning(
                    "a front ended; another is started",
                    extra={"pid": running.process.pid, "status": status, "seconds": wait},
                )
                await asyncio.sleep(wait)

    async def _spawn(self) -> _Running:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            command = [
                sys.executable, "-P", "-m", "modelyard.serve.front",
                str(self._listener.fileno()), str(theirs.fileno()), str(self._path),
            ]  # fmt: skip
            # asyncio's own subprocess would reap executors behind our back.
            process = subprocess.Popen(  # noqa: ASYNC220
                command, stdin=subprocess.DEVNULL, pass_fds=(self._listener.fileno(), theirs.fileno())
            )
        return _Running(process, Channel(*await asyncio.open_unix_connection(sock=ours)))


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """Its status; one that closed its channel and does not end is helped."""
    try:
        return process.wait(30.0)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def front_table(plane: Dataplane) -> FrontTable:
    """What ``plane`` serves and knows the signature of, for its fronts.

    The cache and the fallback are the owner's: one copy of an answer, one flight of calls alike.
    """
    endpoints: list[FrontEndpoint] = []
    for name in plane.endpoints():
        served = plane.resolve(name)
        signature = served.backend.signature
        if signature is not None:
            endpoints.append(
                FrontEndpoint(
                    endpoint=name,
                    model=served.model,
                    version=served.version,
                    digest=served.digest,
                    platform=served.platform,
                    serving=msgspec.structs.replace(served.serving, cache=0, fallback=None),
                    signature=signature,
                    plain=served.plain,
                )
            )
    table = plane.table
    return FrontTable(
        generation=table.generation,
        endpoints=tuple(endpoints),
        default=table.default,
        keys=table.keys,
        grants=table.grants,
    )


def owner_socket(run: Path) -> tuple[socket.socket, Path]:
    """A listening place for fronts that only this user can reach: in ``run``, or, where that path is too
    long for a socket's, in a temporary folder. Raises OSError."""
    path = run / "node.sock"
    if len(os.fsencode(path)) > LONGEST_PATH:
        path = Path(tempfile.mkdtemp(prefix="modelyard-")) / "node.sock"
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.setblocking(False)
    return listener, path


def remove_owner_socket(path: Path, run: Path) -> None:
    """Take away what :func:`owner_socket` made."""
    path.unlink(missing_ok=True)
    if path.parent != run:
        path.parent.rmdir()
