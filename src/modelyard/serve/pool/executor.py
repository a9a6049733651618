"""The node's end of one executor: its process, its socket, its frames (``modelyard_executor.wire``)."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec

from modelyard.core.errors import Unavailable
from modelyard.core.routes import ExecutorSpec
from modelyard.host.process import cpu_ticks
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.pool import frames, offspring
from modelyard.serve.pool.bounds import Bounds, around
from modelyard.serve.pool.environment import environment
from modelyard.serve.pool.forks import Descriptors, Forked, ForkServers, Key
from modelyard.serve.pool.frames import BatchResult, Computed, Failed, Hello, Pong, Progress, Stream
from modelyard.serve.pool.limits import Limits
from modelyard_executor import wire
from modelyard_executor.shared import SMALLEST, Borrower, Lender, SlabMissing

log = logging.getLogger("modelyard.executor")

STILL = 10.0  # seconds without a sign of life in which a forked executor that loads is thought to hang

# A batch: its number, its calls, which of them are streamed, the slab where their tensors lie.
_Flying = tuple[int, int, Collection[int], int | None]
_NONE: _Flying = (0, 0, (), None)


class ExecutorGone(Exception):
    """The process cannot be reached any more; how it ended comes with ``on_exit``."""


PACKAGE: Final = Path(str(importlib.util.find_spec("modelyard_executor").origin)).parent  # type: ignore[union-attr]


def command(python: str, sockets: Sequence[int] = (), groups: Sequence[int] = ()) -> list[str]:
    """The command line of an executor with these descriptors. Of its environment's packages nothing is looked at
    before it is confined (``-S``)."""
    line = [python, "-S", "-s", "-u", "-X", "faulthandler", str(PACKAGE), *map(str, sockets)]
    return [*line, "--join", *map(str, groups)] if groups else line


class ExecutorProcess(asyncio.Protocol):
    """One executor. Call :meth:`start`, then :meth:`send_batch`; events come through the callbacks, all
    on the loop's thread: ``on_hello``, ``on_failed``, ``on_stream`` (batch, index, a piece of that item's
    answer), ``on_progress`` (batch, fraction, text), ``on_computed`` (of the first batch; its result follows), ``on_result``, ``on_gone`` when it takes nothing any more and, exactly once and last, ``on_exit``
    with a sentence on how the process ended.

    ``device`` is "cpu", or "cuda:" and what CUDA_VISIBLE_DEVICES calls the one device that it is to see;
    ``cores`` are those that it may run on (None: all); ``bounds`` what it may touch (None: all). Once it has said HELLO, ``hello.depth`` batches
    may be in flight. They are answered in the order in which they were sent, one result per call; the
    list is empty when ``message.out_of_memory``. The result of a call with ``stream`` is (), its answer
    came in pieces before; a model that does not stream gives it in one.
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
        on_hello: Callable[[Hello], None],
        on_failed: Callable[[Failed], None],
        on_result: Callable[[BatchResult, list[Result]], None],
        on_stream: Callable[[int, int, Answer], None],
        on_progress: Callable[[int, float | None, str], None],
        on_computed: Callable[[], None],
        on_gone: Callable[[], None],
        on_exit: Callable[[str], None],
        on_output: Callable[[str], None],
    ) -> None:
        self.hello: Hello | None = None
        self._spec = spec
        self._threads = threads
        self._device = device
        self._cores = cores
        self._limits = limits
        self._bounds = bounds
        self._folder = folder
        self._forks = forks
        self._on_hello = on_hello
        self._on_failed = on_failed
        self._on_result = on_result
        self._on_stream = on_stream
        self._on_progress = on_progress
        self._on_computed = on_computed
        self._on_gone = on_gone
        self._on_exit = on_exit
        self._on_output = on_output
        self._transport: asyncio.WriteTransport | None = None
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._needed = wire.LENGTHS.size
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._protocol_error: str | None = None
        self._batches = 0
        self._flying: deque[_Flying] = deque()
        self._behind = False  # the first of them is computed, and its result on its way
        self._pings: deque[asyncio.Future[bool]] = deque()
        self._side: socket.socket | None = None  # where slabs are shown
        self._lender: Lender | None = None
        self._borrower: Borrower | None = None
        self._version = 1
        self._streams = False
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
        ours, theirs = socket.socketpair()
        side, their_side = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sockets = (theirs.fileno(), their_side.fileno())
        groups: tuple[int, ...] = ()
        try:
            groups = self._limits.open()
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._forks is not None:
                self._process = await self._forks.fork(
                    self._key, self._folder, Descriptors(sockets, groups)
                )
            if self._process is None:
                # Spawning takes a millisecond; asyncio's own subprocess would reap it behind our back.
                self._process = subprocess.Popen(  # noqa: ASYNC220
                    command(self._spec.python, sockets, groups),
                    pass_fds=sockets + groups,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    env=environment(self._folder, self._threads, self._device),
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            side.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
            their_side.close()
            for group in groups:
                os.close(group)
        self._side = side
        offspring.started(self._process.pid)
        try:
            ended = os.pidfd_open(self._process.pid)
        except OSError:
            self.kill()
            self._process.wait()
            offspring.ended(self._process.pid)
            raise
        output = asyncio.StreamReader(limit=64 * 1024)
        assert self._process.stdout is not None
        pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), self._process.stdout
        )
        ours.setblocking(False)
        self._socket = ours
        await loop.create_unix_connection(lambda: self, sock=ours)
        self._watcher = loop.create_task(
            self._watch(output, pipe, ended), name=f"watch executor {self.pid}"
        )
        try:
            self._limits.apply(self._process.pid)
            if self._cores is not None:
                # Before it is told what to load: threads inherit it, and it has one only.
                os.sched_setaffinity(self._process.pid, self._cores)
        except OSError as error:
            self._protocol_error = f"it could not be put under its limits: {error}"
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
        )
        self._write(frames.encode(start), ())
        if isinstance(self._process, Forked):
            loop.call_later(0.5, self._look_at_fork, None, 0)

    def _look_at_fork(self, before: int | None, looks: int) -> None:
        """End a forked process that loads and has computed nothing for STILL seconds: it waits for a lock
        that was held when it was forked, and that nobody opens. The next ones are started anew."""
        assert self._process is not None and self._forks is not None
        if self.hello is not None or self._process.returncode is not None:
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

    def send_batch(self, calls: Sequence[Call]) -> int:
        """Send one batch; its number comes back in the result.

        Raises WireError when it is too large, ExecutorGone when there is nobody to send it to.
        """
        self._batches = number = self._batches + 1
        streamed = ()
        for call in calls:
            if call.stream:
                streamed = frozenset(index for index, each in enumerate(calls) if each.stream)
                break
        tail, chunks, size = frames.batch_frame(calls, self._version, self._streams)
        slab = None
        if self._borrower is not None and self._borrower.released:
            self._free()
        if size >= SMALLEST and self._lender is not None:
            slab = self._lender.lend(chunks, size)
            if slab is not None:
                tail, chunks = b'"slab":[%d,%d],%b' % (slab, size, tail), ()
        try:
            sent = self._write(b'{"type":"BATCH","batch":%d,%b' % (number, tail), chunks)
        except wire.WireError:
            if slab is not None and self._lender is not None:
                self._lender.take_back(slab)
            raise
        if not sent:
            self._on_gone()
            raise ExecutorGone
        self._flying.append((number, len(calls), streamed, slab))
        return number

    def _free(self) -> None:
        """Give back the slabs of results that nobody reads any more."""
        assert self._borrower is not None
        released = self._borrower.released
        self._write(frames.encode(frames.Free([released.popleft() for _ in range(len(released))])), ())

    def cancel(self, batch: int, indexes: Sequence[int]) -> None:
        """Nobody waits for these calls of ``batch`` any more: what was not computed yet never is.

        They are answered all the same. An executor of version 1 of the wire computes them.
        """
        if self._version >= 2 and any(flying[0] == batch for flying in self._flying):
            self._write(frames.encode(frames.Cancel(batch, list(indexes))), ())

    async def ping(self) -> bool:
        """True once the executor says that its loop turns; False when it ends instead.

        One that computes may answer only when it is done; how long to wait is the caller's to say.
        """
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._socket is None:
            return False
        self._pings.append(pong)
        self._write(b'{"type":"PING"}', ())
        return await pong

    def drain(self) -> None:
        """Ask it to finish and exit."""
        self._write(b'{"type":"DRAIN"}', ())

    def kill(self) -> None:
        """End the process and everything it started, now."""
        if self._process is not None and self._process.returncode is None:
            self._on_gone()
            for end in (os.killpg, os.kill):  # one that was forked has its group a moment later
                with contextlib.suppress(ProcessLookupError):
                    end(self._process.pid, signal.SIGKILL)

    async def closed(self) -> None:
        """Return when the process is gone and ``on_exit`` was called."""
        if self._watcher is not None:
            await asyncio.shield(self._watcher)

    def _write(self, header: bytes, chunks: Sequence[bytes | memoryview]) -> bool:
        """False when it cannot be reached any more."""
        transport, direct = self._transport, self._socket
        if transport is None or direct is None or transport.is_closing():
            return False
        frame = b"".join(wire.encode_raw(header, chunks))
        if transport.get_write_buffer_size() == 0:
            # Straight to the kernel: the transport would wait for the end of the loop's turn, and
            # the executor is idle.
            try:
                sent = direct.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                return False  # it died; its end is noticed by the watch
            if sent == len(frame):
                return True
            frame = memoryview(frame)[sent:]
        transport.write(frame)
        return True

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's has no common base

    def data_received(self, data: bytes) -> None:
        """Bytes of frames; a frame that came whole is read where it lies."""
        if self._protocol_error is not None:
            return  # what else it says is not believed
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data, self._buffer = bytes(self._buffer), bytearray()
        position = 0
        view = memoryview(data)
        try:
            while len(data) - position >= wire.LENGTHS.size:
                header, body = wire.decode_lengths(data[position : position + wire.LENGTHS.size])
                end = position + wire.LENGTHS.size + header + body
                if end > len(data):
                    self._needed = end - position
                    break
                start = position + wire.LENGTHS.size
                self._frame(view[start : start + header], view[start + header : end])
                position = end
            else:
                self._needed = wire.LENGTHS.size
        except (wire.WireError, msgspec.DecodeError, ValueError, RecursionError) as error:
            self._protocol_error = f"it broke the wire protocol: {error}"
            self.kill()
            return
        self._buffer = bytearray(view[position:])

    def _frame(self, header: memoryview, body: memoryview) -> None:
        message = frames.decode(header)
        if isinstance(message, BatchResult):
            self._result(message, body)
        elif isinstance(message, Stream):
            number, _, streamed, _ = self._flying[0] if self._flying else _NONE
            if message.batch != number or message.index not in streamed:
                raise ValueError(f"a piece for item {message.index} of batch {message.batch}, nobody's")
            self._on_stream(number, message.index, frames.piece(message, body))
        elif isinstance(message, Progress):
            if not any(flying[0] == message.batch for flying in self._flying):
                raise ValueError(f"progress of batch {message.batch}, which it does not have")
            self._on_progress(message.batch, message.fraction, message.message)
        elif isinstance(message, Computed):
            if len(self._flying) < 2 or message.batch != self._flying[0][0] or self._behind:
                raise ValueError(f"batch {message.batch} is computed, which it was not to compute")
            self._behind = True
            self._on_computed()
        elif isinstance(message, Pong):
            if not self._pings:
                raise ValueError("a PONG that nobody asked for")
            pong = self._pings.popleft()
            if not pong.done():
                pong.set_result(True)
        elif isinstance(message, Hello):
            if self.hello is not None:
                raise ValueError("it says HELLO twice")
            frames.check_hello(message, wire.VERSIONS)
            if message.version == 1:
                message.depth, message.streams = 1, False
            if message.version >= 2 and message.slabs and self._side is not None:
                self._lender, self._borrower = Lender(self._side), Borrower(self._side, leases=True)
            if self._forks is not None:
                self._forks.seen(self._key, message.modules)
            self.hello, self._version, self._streams = message, message.version, message.streams
            self._on_hello(message)
        else:
            self._on_failed(message)

    def _result(self, message: BatchResult, body: memoryview) -> None:
        number, count, streamed, slab = self._flying[0] if self._flying else _NONE
        if message.batch != number:
            raise ValueError(f"a result for batch {message.batch}, which it was not given or has answered")
        self._flying.popleft()
        self._behind = False
        if slab is not None and self._lender is not None:
            self._lender.take_back(slab)
        if message.out_of_memory:
            self._on_result(message, [])
            return
        if message.slab is not None:
            if self._borrower is None or body:
                raise ValueError("a result lies in a slab, and beside it")
            try:
                body = self._borrower.borrow(*message.slab)
            except SlabMissing as error:
                log.error("a result could not be taken", extra={"pid": self.pid, "why": str(error)})
                self._write(b'{"type":"SOCKET"}', ())
                lost = Unavailable(
                    "The node has no descriptors or memory left to take the answer; call again."
                )
                self._on_result(message, [lost for _ in range(count)])
                return
        results = frames.results(message, body, count, streamed if self._streams else ())
        for index in streamed:
            result = results[index]
            if isinstance(result, tuple):
                if result:  # of a model that does not stream
                    self._on_stream(number, index, result)
                results[index] = ()
        self._on_result(message, results)

    def connection_lost(self, exc: Exception | None) -> None:
        """The executor closed its end: if it does not exit by itself, it is ended."""
        self._on_gone()
        asyncio.get_running_loop().call_later(1.0, self.kill)

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
        self._socket = None
        if self._transport is not None:
            self._transport.close()
        if self._side is not None:
            self._side.close()
        self._lender = self._borrower = None  # bodies that are still read keep their slabs mapped
        for pong in self._pings:
            if not pong.done():
                pong.set_result(False)
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
        if self._protocol_error is not None:
            return self._protocol_error
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
