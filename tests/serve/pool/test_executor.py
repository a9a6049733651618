"""The node's end of an executor: batches ahead, pieces, shared memory, and what a rude executor does."""

import asyncio
import contextlib
import functools
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.core.errors import ModelyardError
from modelyard.core.routes import ExecutorSpec
from modelyard.serve.call import Answer, Call, RawTensor, Result
from modelyard.serve.pool import channel
from modelyard.serve.pool.channel import ExecutorGone
from modelyard.serve.pool.executor import ExecutorProcess
from modelyard.serve.pool.frames import BatchResult, Failed, Hello
from modelyard.serve.pool.limits import Limits
from modelyard_executor import shared

VECTOR = {"name": "rows", "datatype": "FP32", "shape": [-1], "kind": "tensor"}
SIGNATURE = {
    "inputs": [VECTOR],
    "outputs": [VECTOR | {"name": "output"}],
    "parameters": [],
    "batched": False,
    "max_batch": None,
}
DOUBLE = "import numpy as np\ndef predict(rows: np.ndarray):\n    return rows * 2\n"


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine, run by an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **values: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **values), 120))

    return run


class Events:
    """What an executor told, and a place to wait for it."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.failed: Failed | None = None
        self.gone = False
        self.ending: str | None = None
        self.results: list[tuple[BatchResult, list[Result]]] = []
        self.pieces: list[tuple[int, int, Answer]] = []
        self.text = ""
        self._changed = asyncio.Event()

    def tell(self, name: str, *values: Any) -> None:
        """Keep one event."""
        if name in ("results", "pieces"):
            getattr(self, name).append(values)
        else:
            setattr(self, name, self.text + values[0] if name == "text" else values[0])
        self._changed.set()

    async def until(self, condition: Any) -> None:
        """Return when ``condition()`` holds."""
        while not condition():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 60)


def process(folder: Path, events: Events, spec: ExecutorSpec, **more: Any) -> ExecutorProcess:
    given: dict[str, Any] = {"threads": 1, "device": "cpu", "cores": None} | more
    return ExecutorProcess(
        spec,
        limits=Limits("test", None),
        bounds=None,
        folder=folder / "private",
        events=channel.Events(
            hello=lambda hello: events.tell("hello", hello),
            failed=lambda failed: events.tell("failed", failed),
            result=lambda message, results: events.tell("results", message, results),
            stream=lambda *piece: events.tell("pieces", *piece),
            progress=lambda *told: events.tell("progress", *told),
            computed=lambda: events.tell("computed", True),
            gone=lambda: events.tell("gone", True),
        ),
        on_exit=lambda ending: events.tell("ending", ending),
        on_output=lambda text: events.tell("text", text),
        **given,
    )


@asynccontextmanager
async def started(
    folder: Path, source: str = DOUBLE, **more: Any
) -> AsyncIterator[tuple[ExecutorProcess, Events]]:
    """A real executor with a ``model.py``; gone at the end."""
    files = folder / "files"
    files.mkdir()
    (files / "model.py").write_text(source)
    entry = "Model" if "class Model" in source else "predict"
    options: dict[str, object] = {"file": "model.py", "entry": entry, "signature": SIGNATURE}
    events = Events()
    executor = process(
        folder, events, ExecutorSpec(sys.executable, "function", str(files), options), **more
    )
    await executor.start()
    try:
        await events.until(lambda: events.hello or events.failed or events.ending)
        assert events.hello is not None, events.failed or events.text
        yield executor, events
    finally:
        executor.kill()
        await executor.closed()


@asynccontextmanager
async def rude(folder: Path, lines: str) -> AsyncIterator[tuple[ExecutorProcess, Events]]:
    """A program in place of an executor, which says HELLO and then does ``lines``."""
    script = folder / "python"
    script.write_text(
        f"#!{sys.executable}\n"
        "import array, fcntl, json, mmap, os, socket, struct, sys, time\n"
        "s, side = (socket.socket(fileno=int(each)) for each in sys.argv[7:9])\n"
        "def read(n):\n"
        "    data = b''\n"
        "    while len(data) < n: data += s.recv(n - len(data))\n"
        "    return data\n"
        "def take():\n"
        "    header, body = struct.unpack('<II', read(8))\n"
        "    return json.loads(read(header)), read(body)\n"
        "def say(header, body=b''):\n"
        "    raw = json.dumps(header).encode()\n"
        "    s.sendall(struct.pack('<II', len(raw), len(body)) + raw + body)\n"
        "def answer(number, **more):\n"
        "    say({'type': 'RESULT', 'batch': number, 'compute_us': 1, **more})\n"
        "take()\n"
        f"say({{'type': 'HELLO', 'version': 2, 'adapter': 'x', 'signature': {SIGNATURE!r}, 'example': None,\n"
        "     'cost': {'cost': 'rows', 'shape': 'rows'}, 'resources': {}, 'memory': 1, 'pid': os.getpid(),\n"
        "     'depth': 2, 'streams': True, 'slabs': True})\n" + lines + "\ntime.sleep(600)\n"
    )
    script.chmod(0o755)
    events = Events()
    executor = process(folder, events, ExecutorSpec(str(script), "x", str(folder)))
    await executor.start()
    try:
        await events.until(lambda: events.hello or events.ending)
        yield executor, events
    finally:
        executor.kill()
        await executor.closed()


def call(values: Any, *, stream: bool = False, **parameters: object) -> Call:
    array = np.asarray(values, "float32")
    return Call(
        (RawTensor("rows", "FP32", array.shape, array.tobytes()),), parameters, 1, 30.0, stream=stream
    )


def values(result: Result) -> list[float]:
    assert isinstance(result, tuple), result
    return np.frombuffer(result[0].data, "float32").tolist()


def open_descriptors() -> int:
    gc.collect()  # what earlier tests left
    return len(list(Path("/proc/self/fd").iterdir()))


async def all_closed(before: int) -> None:
    """Return when no more descriptors are open than ``before``: some are closed a turn of the loop later."""
    async with asyncio.timeout(30):
        while open_descriptors() > before:
            await asyncio.sleep(0.01)


@in_a_loop
async def test_batches_go_ahead_and_come_back_in_order(tmp_path):
    async with started(tmp_path) as (executor, events):
        assert events.hello and (events.hello.depth, events.hello.streams) == (2, False)
        numbers = [executor.channel.send_batch([call([n]), call([n, n])]) for n in (1.0, 2.0)]
        await events.until(lambda: len(events.results) == 2)
    assert [message.batch for message, _ in events.results] == numbers
    assert [[values(each) for each in results] for _, results in events.results] == [
        [[2.0], [2.0, 2.0]],
        [[4.0], [4.0, 4.0]],
    ]


@in_a_loop
async def test_an_executor_that_does_not_stream_gives_its_answer_in_one_piece(tmp_path):
    async with started(tmp_path) as (executor, events):
        number = executor.channel.send_batch([call([1.0]), call([2.0], stream=True)])
        await events.until(lambda: events.results)
    ((batch, index, piece),) = events.pieces
    assert (batch, index, values(piece)) == (number, 1, [4.0])
    assert values(events.results[0][1][0]) == [2.0] and events.results[0][1][1] == ()


@in_a_loop
async def test_a_streamed_call_comes_in_pieces_until_nobody_waits(tmp_path):
    source = "import itertools\ndef predict(rows):\n    for n in itertools.count():\n        yield [n]\n"
    async with started(tmp_path, source) as (executor, events):
        assert events.hello and events.hello.streams
        number = executor.channel.send_batch([call([1.0], stream=True)])
        await events.until(lambda: len(events.pieces) > 3)
        executor.channel.cancel(number, [0])
        await events.until(lambda: events.results)
    assert [values(piece) for _, _, piece in events.pieces[:3]] == [[0.0], [1.0], [2.0]]
    (result,) = events.results[0][1]
    assert isinstance(result, ModelyardError) and result.code == "cancelled"


@in_a_loop
async def test_out_of_memory_is_told_for_the_batch(tmp_path):
    source = "class Model:\n    def predict_batch(self, records):\n        raise MemoryError\n"
    async with started(tmp_path, source) as (executor, events):
        executor.channel.send_batch([call([1.0]), call([2.0])])
        executor.channel.send_batch([call([1.0])])
        await events.until(lambda: len(events.results) == 2)
    (message, results), (_, (alone,)) = events.results
    assert message.out_of_memory and results == []
    assert isinstance(alone, ModelyardError) and alone.code == "too_large"


@in_a_loop
async def test_a_ping_is_answered_and_false_when_it_ends_instead(tmp_path):
    async with started(tmp_path) as (executor, _):
        assert await executor.channel.ping()
        asked = asyncio.create_task(executor.channel.ping())
        await asyncio.sleep(0)
        executor.kill()
        await executor.closed()
        await asked  # PONG may have come first
        assert not await executor.channel.ping()


@in_a_loop
async def test_one_that_died_takes_no_batch_even_before_its_end_is_read(tmp_path):
    async with started(tmp_path) as (executor, events):
        assert executor.pid is not None
        os.kill(executor.pid, signal.SIGKILL)
        os.waitid(os.P_PID, executor.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - the loop is not to see it
        with pytest.raises(ExecutorGone):
            executor.channel.send_batch([call([1.0])])
        assert events.gone and events.ending is None
        await events.until(lambda: events.ending)
        assert events.ending == "it was killed by SIGKILL"


@in_a_loop
async def test_large_bodies_go_through_shared_memory_both_ways_and_come_back_right(tmp_path):
    before = open_descriptors()
    async with started(tmp_path) as (executor, events):
        kept = []
        for round_ in range(20):
            array = np.arange(round_, round_ + 100_000, dtype="float32")
            executor.channel.send_batch([call(array)])
            await events.until(lambda: events.results)
            ((_, (result,)),) = events.results
            events.results.clear()
            assert isinstance(result, tuple) and memoryview(result[0].data).readonly
            assert np.array_equal(np.frombuffer(result[0].data, "float32"), array * 2)
            kept = [*kept[-3:], (array, result)]  # some are read for longer than others
            assert all(np.array_equal(np.frombuffer(r[0].data, "float32"), a * 2) for a, r in kept)
        maps = Path(f"/proc/{executor.pid}/maps").read_text().count("memfd:modelyard")
        assert 2 <= maps <= 8, "slabs are used again"
        del kept, result
    await all_closed(before)


@in_a_loop
async def test_a_body_over_what_is_kept_in_slabs_goes_through_the_socket(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "KEPT", 300_000)
    async with started(tmp_path) as (executor, events):
        for size in (60_000, 200_000, 70_000):
            executor.channel.send_batch([call(np.full(size, 3.0))])
            await events.until(lambda: events.results)
            _, (result,) = events.results.pop()
            assert values(result) == [6.0] * size


@in_a_loop
async def test_without_descriptors_bodies_go_through_the_socket(tmp_path, monkeypatch):
    def none(*_: object) -> int:
        raise OSError(24, "Too many open files")

    async with started(tmp_path) as (executor, events):
        monkeypatch.setattr(os, "memfd_create", none)
        executor.channel.send_batch([call(np.full(100_000, 3.0))])
        await events.until(lambda: events.results)
    assert values(events.results[0][1][0]) == [6.0] * 100_000


def no_mmap(*_: object) -> None:
    raise OSError(12, "Cannot allocate memory")


@in_a_loop
async def test_a_result_that_cannot_be_mapped_is_refused_and_the_next_comes_by_the_socket(
    tmp_path, monkeypatch
):
    async with started(tmp_path) as (executor, events):
        with monkeypatch.context() as full:
            full.setattr(shared.mmap, "mmap", no_mmap)
            executor.channel.send_batch([call(np.full(100_000, 3.0))])
            await events.until(lambda: events.results)
        _, (lost,) = events.results.pop()
        assert isinstance(lost, ModelyardError) and lost.code == "unavailable"
        executor.channel.send_batch([call(np.full(100_000, 3.0))])
        await events.until(lambda: events.results)
    assert values(events.results[0][1][0]) == [6.0] * 100_000


@in_a_loop
async def test_it_runs_on_the_cores_and_threads_that_it_was_given(tmp_path):
    core = min(os.sched_getaffinity(0))
    source = (
        "import os\ndef predict(rows):\n"
        "    return [float(len(os.sched_getaffinity(0))), float(os.environ['OMP_NUM_THREADS']),"
        " float(os.environ['CUDA_VISIBLE_DEVICES'] == '')]\n"
    )
    async with started(tmp_path, source, cores=frozenset({core}), threads=3, device="cpu:1") as (
        executor,
        events,
    ):
        executor.channel.send_batch([call([1.0])])
        await events.until(lambda: events.results)
    assert values(events.results[0][1][0]) == [1.0, 3.0, 1.0]


MAKE = (
    "fd = os.memfd_create('x', os.MFD_ALLOW_SEALING)\n"
    "os.ftruncate(fd, {real})\n"
    "fcntl.fcntl(fd, 1033, {seals})\n"
    "socket.send_fds(side, [struct.pack('<II', 0, {said})], [fd])\n"
)
OUTPUT = "outputs=[['output', 'FP32', [1], 4]]"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("answer(7, items=[])", "batch 7, which it was not given"),
        ("take(); answer(1, items=[{'error': {'code': 'x', 'message': 'm'}}]); answer(1, items=[])", "batch 1"),
        ("take(); answer(2, items=[])", "batch 2"),
        ("take(); answer(1, items=[])", "0 results for a batch of 1"),
        ("take(); answer(1, alike=1000000000, outputs=[['output', 'FP32', [0], 0]])", "1000000000 results"),
        (f"take(); answer(1, alike=1, {OUTPUT})", "lists 4 bytes of tensors and brings 0"),
        ("take(); answer(1, alike=1, outputs=[['output', 'FP32', [1], -4]])", "broke the wire protocol"),
        ("say({'type': 'STREAM', 'batch': 1, 'index': 0, 'outputs': []})", "a piece for item 0 of batch 1"),
        ("take(); say({'type': 'STREAM', 'batch': 1, 'index': 0, 'outputs': []})", "a piece for item 0"),
        ("say({'type': 'PROGRESS', 'batch': 2, 'fraction': 0.5})", "progress of batch 2, which it does not have"),
        ("take(); say({'type': 'PROGRESS', 'batch': 1, 'fraction': 1.5})", "broke the wire protocol"),
        ("say({'type': 'PONG'})", "nobody asked for"),
        ("say({'type': 'HELLO'})", "broke the wire protocol"),
        (f"take(); answer(1, slab=[0, 4], alike=1, {OUTPUT})", "has not shown"),
        (f"take(); side.send(b'12345678'); answer(1, slab=[0, 4], alike=1, {OUTPUT}); take()", None),
        (MAKE.format(real=8192, seals=2, said=8192) + f"take(); answer(1, slab=[0, 4], alike=1, {OUTPUT})", "not sealed"),
        (MAKE.format(real=100, seals=22, said=8192) + f"take(); answer(1, slab=[0, 4], alike=1, {OUTPUT})", "not of the 8192"),
        (MAKE.format(real=100, seals=22, said=100) + f"take(); answer(1, slab=[0, 400], alike=1, {OUTPUT})", "has 100 bytes"),
        (MAKE.format(real=100, seals=22, said=100) + f"take(); answer(1, slab=[0, 0], alike=1, {OUTPUT})", "has 100 bytes"),
        ("s.sendall(b'x' * 4096)", "broke the wire protocol"),
        ("s.sendall(struct.pack('<II', 100, 0) + b'{'); os._exit(3)", "exited with status 3"),
    ],
)  # fmt: skip
@in_a_loop
async def test_an_executor_that_says_what_cannot_be_is_ended_with_a_reason(tmp_path, lines, why):
    before = open_descriptors()
    async with rude(tmp_path, lines) as (executor, events):
        with contextlib.suppress(ExecutorGone):  # it may have said it, and gone, before
            executor.channel.send_batch([call([1.0])])
        await events.until(lambda: events.ending or (events.results and why is None))
        if why is None:  # a descriptor that was lost is not the executor's fault
            (lost,) = events.results[0][1]
            assert isinstance(lost, ModelyardError) and lost.code == "unavailable"
        else:
            assert why in (events.ending or "")
    del executor
    await all_closed(before)


@pytest.mark.parametrize(
    "cost",
    [
        {"cost": "tokens", "shape": "padded", "of": "rows"},
        {"cost": "length", "shape": "flat", "of": "rows"},
        {"cost": "length", "shape": "padded"},
        {"cost": "length", "shape": "padded", "of": "other"},
        {"cost": "rows", "shape": "rows", "of": "rows"},
        {"cost": "rows", "shape": "rows", "more": 1},
    ],
)
def test_a_cost_that_is_not_known_is_refused(cost):
    import msgspec

    from modelyard.serve.pool import frames

    hello = {"type": "HELLO", "version": 2, "adapter": "x", "signature": SIGNATURE, "cost": cost,
             "example": None, "resources": {}, "memory": 1, "pid": 1}  # fmt: skip
    with pytest.raises((ValueError, msgspec.ValidationError)):
        message = frames.decode(msgspec.json.encode(hello))
        assert isinstance(message, Hello)
        frames.check_hello(message, (1, 2))
