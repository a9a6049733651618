"""A device that computes nothing and takes a stated time for it: for benches and tests of the node.

A batch takes ``fixed_ms + per_padded_us × padded + per_square_us × squares``, where padded and squares
are the sums over its rows of L and L², with L the length that the declared shape gives a row: the
longest of the batch (padded, quadratic), the longest of its own call (ragged), or 1 (rows). That is the
law which the node's latency model fits, so that what the node learns can be held against what is true.
"""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from ..adapter import Container, Cost, Item, ItemError, LoadError, Outputs, Resources, Signature
from ..tensor import Tensor, from_values, len_of, split_bytes

_OPTIONS = {
    "law", "busy", "jitter", "seed", "speeds", "prepare_us", "load_s", "memory", "cost", "output",
    "faults", "signature", "threads", "trusted",
}  # fmt: skip
_LAW = {"fixed_ms", "per_padded_us", "per_square_us"}
_FAULTS = ("refuse", "raise", "exit", "kill", "hang")


class Adapter:
    """Sleeps (or spins) by its law, and answers every row with its length, or with its inputs."""

    tolerance = None  # rows never notice each other, and its calls are counted

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``, all of them optional:

        ``law`` {"fixed_ms", "per_padded_us", "per_square_us"}; ``busy`` spins instead of sleeping;
        ``jitter`` is the standard deviation of the time, relative; ``seed`` of that; ``speeds`` is a
        list of factors on the time: the n-th process that runs at once on these ``files`` takes the
        n-th, and one that starts in place of a dead one takes what that one had; ``prepare_us`` is
        spun per item ahead of the batch; ``load_s`` is slept while loading; ``memory`` is the padded
        cost over which a batch is out of memory; ``cost`` is what is declared to the node; ``output``
        is length (INT64, one per row) or echo; ``faults`` {"refuse" | "raise" | "exit" | "kill" |
        "hang": text}: what happens to a batch with an item whose BYTES hold that text; ``signature``.
        """
        unknown = sorted(set(options) - _OPTIONS)
        if unknown:
            raise LoadError("the simulated device has no option %s" % ", ".join(unknown))
        law = dict(options.get("law") or {})
        faults = dict(options.get("faults") or {})
        if set(law) - _LAW or set(faults) - set(_FAULTS):
            raise LoadError("a law has %s; faults are %s" % (", ".join(sorted(_LAW)), ", ".join(_FAULTS)))
        self._fixed = float(law.get("fixed_ms", 0.0)) / 1e3
        self._padded = float(law.get("per_padded_us", 0.0)) / 1e6
        self._square = float(law.get("per_square_us", 0.0)) / 1e6
        self._busy = bool(options.get("busy", False))
        self.off_cpu = not self._busy
        self._jitter = float(options.get("jitter", 0.0))
        self._random = random.Random(options.get("seed", 0))
        self._speed = _take_speed(files, [float(each) for each in options.get("speeds") or ()])
        self._prepare_s = float(options.get("prepare_us", 0.0)) / 1e6
        self._memory = options.get("memory")
        self._faults = {kind: str(text).encode() for kind, text in faults.items()}
        self._cost: Cost = dict(options.get("cost") or {"cost": "length", "of": "text", "shape": "padded"})
        self._output = str(options.get("output", "length"))
        if self._output not in ("length", "echo"):
            raise LoadError("the output %r is not known; known: length, echo" % self._output)
        self._signature: Signature = dict(options.get("signature") or self._default_signature())
        time.sleep(float(options.get("load_s", 0.0)))

    def _default_signature(self) -> Signature:
        text = _spec("text", "BYTES", (), "text")
        return {
            "inputs": [text],
            "outputs": [text if self._output == "echo" else _spec("length", "INT64", (), "tensor")],
            "parameters": [],
            "batched": True,
            "max_batch": None,
        }

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        return self._cost

    def example(self) -> Optional[Dict[str, Any]]:
        return None

    def validate(self, item: Item) -> None:
        """Whatever the signature takes is fine, but for what is to be refused."""
        if self._faults and self._has_fault("refuse", item):
            raise ItemError("This item is refused.", code="invalid_input", field="inputs")

    def prepare(self, items: Sequence[Item]) -> List[float]:
        """Spin for ``prepare_us`` an item; what is prepared is the time when that was done."""
        if self._prepare_s:
            _spin(time.perf_counter() + self._prepare_s * len(items))
        return [time.perf_counter()] * len(items)

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        """Take the time of the batch. Raises MemoryError over ``memory``, RuntimeError for ``raise``."""
        started = time.perf_counter()
        missing = [item for item in items if getattr(item, "prepared", None) is None]
        if missing:
            self.prepare(missing)
        lengths = [self._lengths(item) for item in items]
        padded, squares = self._sums(lengths)
        if self._faults:
            self._fail(items)
        if self._memory is not None and padded > self._memory:
            raise MemoryError("out of memory: a padded cost of %d, over %d" % (padded, self._memory))
        seconds = (self._fixed + self._padded * padded + self._square * squares) * self._speed
        if self._jitter:
            seconds *= max(0.0, self._random.gauss(1.0, self._jitter))
        deadline = started + seconds
        if self._busy:
            _spin(deadline)
        else:
            left = deadline - time.perf_counter()
            if left > 0:
                time.sleep(left)
        if self._output == "echo":
            return [dict(item.inputs) for item in items]
        return [{"length": self._answer(each)} for each in lengths]

    def _answer(self, lengths: Sequence[int]) -> Tensor:
        return from_values("INT64", (len(lengths),) if self._signature["batched"] else (), lengths)

    def _lengths(self, item: Item) -> List[int]:
        """The length of each row, in the unit of the declared cost."""
        batched = self._signature["batched"]
        first = 1 if batched else 0
        name = self._cost.get("of") or next(iter(item.inputs))
        tensor = item.inputs.get(name)
        if tensor is None:
            return [1] * (next(iter(item.inputs.values())).shape[0] if batched else 1)
        rows = tensor.shape[0] if batched else 1
        if self._cost["cost"] == "rows":
            return [1] * rows
        inner = tensor.shape[first:]
        if self._cost["cost"] == "elements":
            return [max(1, len_of(inner))] * rows
        if tensor.datatype != "BYTES":
            spec = next(each for each in self._signature["inputs"] if each["name"] == name)
            return [max(1, inner[list(spec["shape"]).index(-1)])] * rows
        per_row = len_of(inner)
        sizes = [len(text) for text in split_bytes(tensor.data)]
        return [max(1, sum(sizes[row * per_row : (row + 1) * per_row])) for row in range(rows)]

    def _sums(self, lengths: Sequence[Sequence[int]]) -> Tuple[int, int]:
        """Σ L and Σ L² over the rows of the batch."""
        if self._cost.get("shape") == "ragged":
            pairs = [(len(each), max(each)) for each in lengths]
        else:
            pairs = [(sum(map(len, lengths)), max(map(max, lengths)))]
        return sum(rows * longest for rows, longest in pairs), sum(
            rows * longest**2 for rows, longest in pairs
        )

    def _has_fault(self, kind: str, item: Item) -> bool:
        mark = self._faults.get(kind)
        return mark is not None and any(
            mark in bytes(tensor.data) for tensor in item.inputs.values() if tensor.datatype == "BYTES"
        )

    def _fail(self, items: Sequence[Item]) -> None:
        """Do what the first faulty item of the batch asks for."""
        for item in items:
            if self._has_fault("raise", item):
                raise RuntimeError("an item of the batch cannot be computed")
            if self._has_fault("exit", item):
                os._exit(3)
            if self._has_fault("kill", item):
                os.kill(os.getpid(), signal.SIGKILL)
            while self._has_fault("hang", item):
                time.sleep(3600)

    def resources(self) -> Resources:
        return {"memory_bytes": 0, "device": "cpu"}

    def container(self) -> Container:
        return {"image": "python", "system_packages": []}


def _spin(deadline: float) -> None:
    while time.perf_counter() < deadline:
        pass


def _take_speed(files: Path, speeds: Sequence[float]) -> float:
    """The factor of the first place that no living process holds, by a lock that the kernel frees."""
    if not speeds:
        return 1.0
    import fcntl

    for place, speed in enumerate(speeds):
        descriptor = os.open(str(files / (".place-%d" % place)), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Held, and the descriptor open, for as long as the process lives.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return speed
        except BlockingIOError:
            os.close(descriptor)
    raise LoadError("more than %d processes run on these files; give as many speeds" % len(speeds))


def _spec(name: str, datatype: str, shape: Sequence[int], kind: str) -> Dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(shape),
        "kind": kind,
        "optional": False,
        "description": "",
    }
