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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec

from modelyard.core.errors import ERROR_KINDS, Internal, ModelyardError
from modelyard.core.routes import ExecutorSpec
from modelyard.core.signature import Signature
from modelyard.serve.call import Call, RawTensor, Result
from modelyard.serve.pool.limits import MemoryLimit
from modelyard_executor import wire

log = logging.getLogger("modelyard.executor")

WireTensor = tuple[str, str, tuple[int, ...], int]


class _Start(msgspec.Struct, tag="START"):
    versions: tuple[int, ...]
    adapter: str
    files: str
    device: str
    threads: int
    options: dict[str, object]
    trusted: bool


class _Item(msgspec.Struct):
    inputs: list[WireTensor]
    parameters: object


class _Batch(msgspec.Struct, tag="BATCH"):
    batch: int
    items: list[_Item]


class _Cost(msgspec.Struct, forbid_unknown_fields=True):
    """What an item costs. This node counts rows; another declaration is refused, not ignored."""

    cost: str
    shape: str


class Hello(msgspec.Struct, tag="HELLO"):
    """What an executor says once its model is loaded. Memory in bytes, resident."""

    version: int
    adapter: str
    signature: Signature
    cost: _Cost
    example: dict[str, object] | None
    resources: dict[str, object]
    memory: int
    pid: int


class Failed(msgspec.Struct, tag="FAILED"):
    """Loading failed, and why."""

    code: str
    message: str
    traceback: str


class _WireError(msgspec.Struct):
    code: str
    message: str
    field: str | None = None


class _ItemResult(msgspec.Struct):
    outputs: list[WireTensor] | None = None
    error: _WireError | None = None


class BatchResult(msgspec.Struct, tag="RESULT"):
    """The answer to a batch: one result per item, in order."""

    batch: int
    compute_us: int
    items: list[_ItemResult]


class Pong(msgspec.Struct, tag="PONG"):
    """The executor's loop turns."""


_decode = msgspec.json.Decoder(Hello | Failed | BatchResult | Pong).decode
_encode = msgspec.json.Encoder().encode

PACKAGE: Final = Path(str(importlib.util.find_spec("modelyard_executor").origin)).parent  # type: ignore[union-attr]


class ExecutorProcess(asyncio.Protocol):
    """One executor. Call :meth:`start`, then :meth:`send_batch` one at a time; events come through
    the callbacks, all on the loop's thread: ``on_hello``, ``on_failed``, ``on_result`` and, exactly
    once and last, ``on_exit`` with a sentence on how the process ended.
    """

    def __init__(
        self,
        spec: ExecutorSpec,
        *,
        threads: int,
        limit: MemoryLimit,
        folder: Path,
        on_hello: Callable[[Hello], None],
        on_failed: Callable[[Failed], None],
        on_result: Callable[[BatchResult, list[Result]], None],
        on_exit: Callable[[str], None],
        on_output: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._threads = threads
        self._limit = limit
        self._folder = folder
        self._on_hello = on_hello
        self._on_failed = on_failed
        self._on_result = on_result
        self._on_exit = on_exit
        self._on_output = on_output
        self._transport: asyncio.WriteTransport | None = None
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._needed = wire.LENGTHS.size
        self._process: subprocess.Popen[bytes] | None = None
        self._protocol_error: str | None = None
        self._batches = 0
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process, or None before the start."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Spawn the process and tell it what to load. Raises OSError when it cannot be spawned."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Spawning takes a millisecond; asyncio's own subprocess would reap it behind our back.
            self._process = subprocess.Popen(  # noqa: ASYNC220
                [self._spec.python, "-s", "-u", "-X", "faulthandler", str(PACKAGE), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment(),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
        try:
            ended = os.pidfd_open(self._process.pid)
        except OSError:
            self.kill()
            self._process.wait()
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
            self._limit.apply(self._process.pid)
        except OSError as error:
            self._protocol_error = f"it could not be put under its limits: {error}"
            self.kill()
            return
        start = _Start(
            versions=wire.VERSIONS,
            adapter=self._spec.adapter,
            files=self._spec.files,
            device="cpu",
            threads=self._threads,
            options=self._spec.options,
            trusted=self._spec.trusted,
        )
        self._write(_encode(start), ())

    def _environment(self) -> dict[str, str]:
        """Nothing of the node's environment but the way to programs: no key, no setting leaks."""
        threads = str(self._threads)
        kept = {
            name: os.environ[name]
            for name in ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH")
            if name in os.environ
        }
        return kept | {
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            "PYTHONNOUSERSITE": "1",
            "PYTHONIOENCODING": "utf-8:replace",
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        }

    def send_batch(self, calls: Sequence[Call]) -> int:
        """Send one batch; its number comes back in the result."""
        self._batches += 1
        items: list[_Item] = []
        chunks: list[bytes | memoryview] = []
        for call in calls:
            inputs: list[WireTensor] = []
            for tensor in call.inputs:
                inputs.append((tensor.name, tensor.datatype, tensor.shape, len(tensor.data)))
                chunks.append(tensor.data)
            items.append(_Item(inputs, call.parameters))
        self._write(_encode(_Batch(self._batches, items)), chunks)
        return self._batches

    def drain(self) -> None:
        """Ask it to finish and exit."""
        self._write(b'{"type":"DRAIN"}', ())

    def kill(self) -> None:
        """End the process and everything it started, now."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def closed(self) -> None:
        """Return when the process is gone and ``on_exit`` was called."""
        if self._watcher is not None:
            await asyncio.shield(self._watcher)

    def _write(self, header: bytes, chunks: Sequence[bytes | memoryview]) -> None:
        transport, direct = self._transport, self._socket
        if transport is None or direct is None or transport.is_closing():
            return
        frame = b"".join(wire.encode_raw(header, chunks))
        if transport.get_write_buffer_size() == 0:
            # Straight to the kernel: the transport would wait for the end of the loop's turn, and
            # the executor is idle.
            try:
                sent = direct.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # it died; its end is noticed by the watch
            if sent == len(frame):
                return
            frame = memoryview(frame)[sent:]
        transport.write(frame)

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
        except (wire.WireError, msgspec.DecodeError, ValueError) as error:
            self._protocol_error = f"it broke the wire protocol: {error}"
            self.kill()
            return
        self._buffer = bytearray(view[position:])

    def _frame(self, header: memoryview, body: memoryview) -> None:
        message = _decode(header)
        if isinstance(message, BatchResult):
            self._on_result(message, _results(message, body))
        elif isinstance(message, Hello):
            if (message.cost.cost, message.cost.shape) != ("rows", "rows"):
                raise ValueError(f"it declares a cost that this node does not know: {message.cost}")
            self._on_hello(message)
        elif isinstance(message, Failed):
            self._on_failed(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """The executor closed its end: if it does not exit by itself, it is ended."""
        asyncio.get_running_loop().call_later(1.0, self.kill)

    async def _watch(self, output: asyncio.StreamReader, pipe: asyncio.ReadTransport, ended: int) -> None:
        """Pass on what the process prints, until it ends (``ended`` is its pidfd); then say how."""
        process = self._process
        assert process is not None
        reading = asyncio.create_task(self._read_output(output))
        await _readable(ended)
        status = process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started and left behind
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reading, 1.0)
        pipe.close()  # a process that the model let go its own way may hold the other end
        self._socket = None
        if self._transport is not None:
            self._transport.close()
        ending = self._ending(status)
        self._limit.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._on_exit(ending)

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
        if self._limit.exceeded() and self._limit.limit is not None:
            return (
                f"it needed more than its memory limit of {self._limit.limit / 2**20:.0f} MiB and was killed; "
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


def _results(message: BatchResult, body: memoryview) -> list[Result]:
    """Errors as values, tensors as views of the body."""
    results: list[Result] = []
    position = 0
    for item in message.items:
        if item.error is not None:
            code = item.error.code if item.error.code in ERROR_KINDS else "internal"
            results.append(ModelyardError(item.error.message, field=item.error.field, code=code))
            continue
        answer: list[RawTensor] = []
        for name, datatype, shape, size in item.outputs or ():
            answer.append(RawTensor(name, datatype, shape, body[position : position + size]))
            position += size
        results.append(tuple(answer) if answer else Internal("The model gave no output."))
    if position != len(body):
        raise ValueError(f"a result lists {position} bytes of tensors and brings {len(body)}")
    return results
