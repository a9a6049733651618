"""The executor's loop: take a batch, predict, answer; until it is told to drain or the node is gone."""

import json
import sys
import time
import traceback
from functools import lru_cache
from typing import Any, Dict, List, Sequence, Tuple, Union

from .adapter import Adapter, Item, ItemError, Outputs
from .tensor import Tensor
from .wire import Channel


def serve(channel: Channel, adapter: Adapter) -> None:
    """Answer frames until DRAIN. Raises EOFError when the node has gone."""
    while True:
        header, body = channel.receive()
        kind = header["type"]
        if kind == "BATCH":
            started = time.perf_counter()
            results = run_batch(adapter, unpack_items(header["items"], body))
            elapsed = int((time.perf_counter() - started) * 1e6)
            described, chunks = pack_results(results)
            channel.send_raw(
                b'{"type":"RESULT","batch":%d,"compute_us":%d,"items":[%s]}'
                % (header["batch"], elapsed, described.encode("utf-8", "replace")),
                chunks,
            )
        elif kind == "PING":
            channel.send({"type": "PONG"})
        elif kind == "DRAIN":
            return
        else:
            raise ValueError("the node sent a frame of type %r, which is not known here" % kind)


def run_batch(adapter: Adapter, items: Sequence[Item]) -> List[Union[Outputs, ItemError]]:
    """Results in the order of ``items``; one bad item costs its batch-mates nothing but time."""
    results: List[Union[Outputs, ItemError, None]] = [None] * len(items)
    valid: List[int] = []
    for index, item in enumerate(items):
        try:
            adapter.validate(item)
            valid.append(index)
        except Exception as error:
            results[index] = as_item_error(error)
    _predict(adapter, items, valid, results)
    return [result if result is not None else ItemError("no result") for result in results]


def _predict(adapter: Adapter, items: Sequence[Item], indexes: List[int], results: List[Any]) -> None:
    """Predict together; when that raises, each half apart, down to the item at fault."""
    if not indexes:
        return
    try:
        outputs = adapter.predict([items[index] for index in indexes])
        if len(outputs) != len(indexes):
            raise ItemError("the model answered %d results for %d items" % (len(outputs), len(indexes)))
    except Exception as error:
        if len(indexes) == 1:
            if not isinstance(error, ItemError):
                traceback.print_exc()
            results[indexes[0]] = as_item_error(error)
            return
        middle = len(indexes) // 2
        _predict(adapter, items, indexes[:middle], results)
        _predict(adapter, items, indexes[middle:], results)
        return
    for index, output in zip(indexes, outputs):
        results[index] = output


def as_item_error(error: Exception) -> ItemError:
    """The error that the caller sees: the adapter's own, or the model's exception in one line."""
    if isinstance(error, ItemError):
        return error
    return ItemError("The model raised %s: %s" % (type(error).__name__, str(error)[:500] or "no message"))


def unpack_items(described: Sequence[Dict[str, Any]], body: memoryview) -> List[Item]:
    """Items of a BATCH; tensors are views of ``body``."""
    items: List[Item] = []
    position = 0
    for description in described:
        inputs: Dict[str, Tensor] = {}
        for name, datatype, shape, size in description["inputs"]:
            inputs[name] = Tensor(datatype, shape, body[position : position + size])
            position += size
        items.append(Item(inputs, description.get("parameters")))
    if position != len(body):
        raise ValueError("the batch lists %d bytes of tensors and brings %d" % (position, len(body)))
    return items


def pack_results(results: Sequence[Union[Outputs, ItemError]]) -> Tuple[str, List[Any]]:
    """The descriptions of a RESULT, as JSON without the brackets around, and its raw chunks."""
    described: List[str] = []
    chunks: List[Any] = []
    for result in results:
        if isinstance(result, ItemError):
            # Whatever the author of a model put into it becomes text that can be sent.
            error = {
                "code": _text(result.code),
                "message": _text(result.message),
                "field": None if result.field is None else _text(result.field),
            }
            described.append('{"error":%s}' % json.dumps(error))
            continue
        outputs: List[str] = []
        for name, tensor in result.items():
            data = tensor.data
            size = data.nbytes if isinstance(data, memoryview) else len(data)
            outputs.append(_describe(name, tensor.datatype, tensor.shape, size))
            chunks.append(data)
        described.append('{"outputs":[%s]}' % ",".join(outputs))
    return ",".join(described), chunks


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()


@lru_cache(maxsize=1024)
def _describe(name: str, datatype: str, shape: Tuple[int, ...], size: int) -> str:
    """One tensor as JSON; most answers of a model look alike."""
    return json.dumps((name, datatype, shape, size), separators=(",", ":"))


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
