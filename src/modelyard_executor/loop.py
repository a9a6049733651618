"""The executor's loop: take a batch, predict, answer; until it is told to drain or the node is gone."""

import socket
import sys
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Mapping, Optional

from . import adapter as adapter_module
from .adapter import Adapter, ItemError
from .ahead import Ahead
from .behind import Behind
from .compute import OutOfMemory, as_item_error, prepare_batch, run_batch
from .frames import BATCH, Work, pack_outputs, pack_results, read_batch
from .shared import SMALLEST, Borrower, Lender
from .wire import Channel, from_json


def serve(
    channel: Channel,
    adapter: Adapter,
    version: int,
    slabs: Optional[socket.socket] = None,
    *,
    lend: bool = False,
    overlap: bool = False,
    progress: bool = False,
) -> None:
    """Answer frames until DRAIN. Raises EOFError when the node has gone.

    ``slabs`` is the socket on which shared memory is shown; ``lend``: the node takes results in it;
    ``overlap``: results are packed while the next batch computes; ``progress``: it wants to know how far they are.
    """
    loop = _Loop(channel, adapter, version, overlap and version >= 2)
    if slabs is not None and version >= 2:
        loop.borrower = Borrower(slabs, leases=False)
        loop.lender = Lender(slabs) if lend else None
    if progress and version >= 2:
        adapter_module._reporter = loop.report
    try:
        loop.run()
    finally:
        loop.close()


# Seconds that batches compute from which the next one is read ahead meanwhile. Beginning and ending that
# costs two hand-overs between threads; below, what waits lies in the socket's own buffer.
AHEAD = 0.001
TELL_EVERY = 0.4  # seconds between two words on how far a batch is
MANY = 8  # results from which they are packed behind the next batch's back


_BATCH = {"type": "BATCH"}  # what need not be parsed to be known


class _Loop:
    def __init__(self, channel: Channel, adapter: Adapter, version: int, overlap: bool = False) -> None:
        self.borrower: Optional[Borrower] = None
        self.lender: Optional[Lender] = None
        self._channel = channel
        self._adapter = adapter
        self._version = version
        self._waiting: Deque[Work] = deque()
        self._current: "Work | None" = None
        self._draining = False
        self._ahead = Ahead(channel, self._frame_ahead)
        self._overlap = overlap
        self._behind = Behind(self._send)
        self._typical = 2 * AHEAD  # seconds that a batch computes; a moving average
        self._thread = threading.get_ident()
        self._told = (-1, 0.0, "")  # batch, when, text: what was last said of how far it is

    def close(self) -> None:
        """No thread of it reads any more."""
        self._ahead.close()

    def run(self) -> None:
        channel, waiting, ahead = self._channel, self._waiting, self._ahead
        while True:
            if not waiting:
                if ahead.reading:
                    ahead.end()
                    continue  # it may have brought one
                if self._draining:
                    self._behind.wait()
                    return
                self._frame(*channel.receive_raw())
            if not ahead.reading:
                # What came along may cancel what is next.
                while channel.ready():
                    self._frame(*channel.receive_raw())
            if waiting:
                self._current = work = waiting.popleft()
                if self._typical >= AHEAD and self._version >= 2:
                    ahead.begin()
                self._answer(work)
                self._current = None

    def _frame_ahead(self, header: bytes, body: memoryview) -> None:
        """As :meth:`_frame`, while another batch computes: here is time to prepare the next."""
        self._frame(header, body, prepare=True)

    def _frame(self, header: bytes, body: memoryview, *, prepare: bool = False) -> None:
        message: Any = _BATCH if header.startswith(BATCH) else from_json(header)
        kind = message["type"]
        if kind == "BATCH":
            work = read_batch(header, body, self.borrower)
            if prepare:
                prepare_batch(self._adapter, work)
            self._waiting.append(work)
        elif kind == "CANCEL":
            for work in (self._current, *self._waiting):
                if work is not None and work.number == message["batch"]:
                    work.cancelled.update(message["items"])
        elif kind == "FREE" and self.lender is not None:
            for number in message["slabs"]:
                self.lender.take_back(number)
        elif kind == "SOCKET" and self.lender is not None:
            self.lender.stop()
        elif kind == "PING":
            self._channel.send({"type": "PONG"})
        elif kind == "DRAIN":
            self._draining = True
        else:
            raise ValueError("the node sent a frame of type %r, which is not known here" % kind)

    def report(self, fraction: Optional[float], message: str) -> None:
        """Say how far the current batch is. Raises ItemError when nobody waits for any of it."""
        work = self._current
        if work is None:
            return
        while (
            not self._ahead.reading
            and threading.get_ident() == self._thread
            and self._channel.ready(look=True)
        ):
            self._frame(*self._channel.receive_raw())
        if len(work.cancelled) >= len(work.items):
            raise ItemError("Nobody waits for it.", code="cancelled")
        now, text = time.monotonic(), str(message)[:500]
        batch, when, before = self._told
        if batch == work.number and now - when < (TELL_EVERY if text == before else TELL_EVERY / 4):
            return
        self._told = (work.number, now, text)
        part = None if fraction is None else min(1.0, max(0.0, float(fraction)))
        self._channel.send({"type": "PROGRESS", "batch": work.number, "fraction": part, "message": text})

    def _answer(self, work: Work) -> None:
        """Compute one batch and send its RESULT."""
        started = time.perf_counter()
        try:
            if work.cancelled or work.streamed:
                results = self._some(work)
            else:
                results = run_batch(
                    self._adapter, work.items, halve=self._version < 2, checked=work.checked
                )
        except OutOfMemory as error:
            log("a batch of %d was out of memory: %s" % (len(work.items), error))
            self._behind.wait()
            self._channel.send_raw(
                b'{"type":"RESULT","batch":%d,"compute_us":%d,"out_of_memory":true}'
                % (work.number, (time.perf_counter() - started) * 1e6)
            )
            return
        seconds = time.perf_counter() - started
        self._typical += 0.2 * (seconds - self._typical)
        if self._overlap and self._waiting and len(results) >= MANY:
            self._channel.send_raw(b'{"type":"COMPUTED","batch":%d}' % work.number)
            self._behind.hand_over(work.number, results, seconds)
        else:
            self._behind.wait()
            self._send(work.number, results, seconds)

    def _send(self, number: int, results: List[Any], seconds: float) -> None:
        """The RESULT of a batch."""
        described, chunks, size = pack_results(results, self._version)
        if size >= SMALLEST and self.lender is not None:
            slab = self.lender.lend(chunks, size)
            if slab is not None:
                described, chunks = '"slab":[%d,%d],%s' % (slab, size, described), []
        self._channel.send_raw(
            b'{"type":"RESULT","batch":%d,"compute_us":%d,%s}'
            % (number, seconds * 1e6, described.encode("utf-8", "replace")),
            chunks,
        )

    def _some(self, work: Work) -> List[Any]:
        """The results of a batch of which some are cancelled, or streamed: those come in pieces before."""
        results: List[Any] = [ItemError("Nobody waits for it.", code="cancelled")] * len(work.items)
        streamed = frozenset(work.streamed)
        whole = [
            index
            for index in range(len(work.items))
            if index not in streamed and index not in work.cancelled
        ]
        if whole:
            computed = run_batch(
                self._adapter,
                [work.items[index] for index in whole],
                halve=self._version < 2,
                checked=work.checked,
            )
            for index, result in zip(whole, computed):
                results[index] = result
        if streamed:
            self._behind.wait()  # pieces are of the first batch that is not answered
            self._stream(work, results)
        return results

    def _stream(self, work: Work, results: List[Any]) -> None:
        """Pieces of every streamed item in turn, until each has ended, failed or been cancelled."""
        open_: Dict[int, Iterator[Any]] = {}
        for index in work.streamed:
            item = work.items[index]
            try:
                self._adapter.validate(item)
                open_[index] = iter(self._adapter.stream(item))  # type: ignore[attr-defined]
            except Exception as error:
                results[index] = as_item_error(error)
        while open_:
            for index in list(open_):
                while not self._ahead.reading and self._channel.ready(look=True):
                    self._frame(*self._channel.receive_raw())
                pieces = open_[index]
                try:
                    if index in work.cancelled:
                        close(pieces)
                        del open_[index]
                        continue
                    outputs = next(pieces, None)
                    if outputs is None:
                        results[index] = {}
                        del open_[index]
                        continue
                    chunks: List[Any] = []
                    described, _ = pack_outputs(outputs, chunks)
                except Exception as error:
                    results[index] = as_item_error(error)
                    del open_[index]
                    continue
                self._channel.send_raw(
                    b'{"type":"STREAM","batch":%d,"index":%d,"outputs":[%s]}'
                    % (work.number, index, described.encode("utf-8", "replace")),
                    chunks,
                )


def close(pieces: Iterator[Any]) -> None:
    """End a generator where it stands; other iterators have nothing to end."""
    end = getattr(pieces, "close", None)
    if end is not None:
        end()


def streams(adapter: Adapter) -> bool:
    """Whether the loaded model answers in pieces."""
    return callable(getattr(adapter, "stream", None)) and bool(getattr(adapter, "streams", True))


TOLERANCE = 1e-4
ELSEWHERE = (
    1e-2  # on a device that rounds to ten bits (TF32) or fewer, by another order for each size of batch
)


def tolerance(adapter: Adapter, options: Mapping[str, Any], device: str) -> Optional[float]:
    """How far answers alone and together may be apart: as model.yaml says, or the adapter."""
    own = getattr(adapter, "tolerance", TOLERANCE)
    if own is None:
        return None
    told = options.get("tolerance")
    return float(told) if told is not None else max(own, TOLERANCE if device == "cpu" else ELSEWHERE)


def memory_bytes() -> int:
    """Resident memory of this process now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            import resource

            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def log(message: str) -> None:
    """One line into the replica's log."""
    print("modelyard_executor: " + message, file=sys.stderr, flush=True)
