"""Frames of the wire as the executor works with them: a BATCH as items, results as a RESULT."""

import json
from functools import lru_cache
from typing import Any, Dict, List, Sequence, Tuple, Union

from .adapter import Item, ItemError, Outputs
from .shared import Borrower
from .tensor import Tensor
from .wire import from_json

# What the header of a BATCH begins with, as a node of ours writes it.
BATCH = b'{"type":"BATCH","batch":'
_MOST = 1 << 20  # items of one batch; tensors of no bytes would let a frame ask for any number
_Tensors = Tuple[Tuple[str, str, Tuple[int, ...], int], ...]


class Work:
    """One batch: its items, and which of them are streamed (``streamed``) or not waited for any more.

    ``checked``: its items have been validated, and prepared; what is wrong with one is its ``prepared``.
    """

    __slots__ = ("cancelled", "checked", "items", "number", "streamed")

    def __init__(self, number: int, items: List[Item], streamed: Sequence[int] = ()) -> None:
        self.number = number
        self.items = items
        self.streamed = streamed
        self.cancelled: "set[int]" = set()
        self.checked = False


def read_batch(header: bytes, body: memoryview, slabs: "Borrower | None" = None) -> Work:
    """The items of a BATCH; tensors are views of ``body``, or of the one of ``slabs`` where it lies.

    Raises ValueError when it is not one, SlabError when there is no such slab.
    """
    if header.startswith(BATCH):
        number, _, rest = header[len(BATCH) :].partition(b",")
        if rest.startswith(b'"alike":') and number.isdigit():
            # But for its number, one header is like another: read once.
            count, tensors, size = _alike(rest)
            if size != len(body):
                raise ValueError("the batch lists %d bytes of tensors and brings %d" % (size, len(body)))
            return Work(int(number), _alike_items(count, tensors, body))
    message = from_json(header)
    if "slab" in message:
        if slabs is None or len(body):
            raise ValueError("the batch lies in a slab, and there are none")
        body = slabs.borrow(*message["slab"])
    if "alike" in message:
        count, tensors, size = _alike(json.dumps(message).encode())
        if size != len(body):
            raise ValueError("the batch lists %d bytes of tensors and brings %d" % (size, len(body)))
        return Work(message["batch"], _alike_items(count, tensors, body))
    described = message["items"]
    streamed = [index for index, each in enumerate(described) if each.get("stream")]
    return Work(message["batch"], unpack_items(described, body), streamed)


@lru_cache(maxsize=512)
def _alike(rest: bytes) -> Tuple[int, _Tensors, int]:
    """How many items, the tensors of each, and the bytes of all."""
    message = from_json(rest if rest.startswith(b"{") else b"{" + rest)
    count = message["alike"]
    tensors = tuple(
        [(name, datatype, tuple(shape), size) for name, datatype, shape, size in message["inputs"]]
    )
    if not 1 <= count <= _MOST or any(tensor[3] < 0 for tensor in tensors):
        raise ValueError("a batch of %d items of %r is not possible" % (count, tensors))
    return count, tensors, count * sum([tensor[3] for tensor in tensors])


def _alike_items(count: int, tensors: _Tensors, body: memoryview) -> List[Item]:
    """The body stands tensor by tensor: first that of every item, then the next of every item."""
    if len(tensors) == 1:
        name, datatype, shape, size = tensors[0]
        if count == 1:
            return [Item({name: Tensor(datatype, shape, body)})]
        return [
            Item({name: Tensor(datatype, shape, body[start : start + size])})
            for start in range(0, count * size, size)
        ] if size else [Item({name: Tensor(datatype, shape, body)}) for _ in range(count)]  # fmt: skip
    items = [Item({}) for _ in range(count)]
    start = 0
    for name, datatype, shape, size in tensors:
        for item in items:
            item.inputs[name] = Tensor(datatype, shape, body[start : start + size])
            start += size
    return items


def unpack_items(described: Sequence[Dict[str, Any]], body: memoryview) -> List[Item]:
    """Items that are described one by one; tensors are views of ``body``."""
    items: List[Item] = []
    position = 0
    for description in described:
        inputs: Dict[str, Tensor] = {}
        for name, datatype, shape, size in description["inputs"]:
            if size < 0:
                raise ValueError("a tensor of %d bytes is not possible" % size)
            inputs[name] = Tensor(datatype, shape, body[position : position + size])
            position += size
        items.append(Item(inputs, description.get("parameters")))
    if position != len(body):
        raise ValueError("the batch lists %d bytes of tensors and brings %d" % (position, len(body)))
    return items


def pack_results(results: Sequence[Union[Outputs, ItemError]], version: int) -> Tuple[str, List[Any], int]:
    """The members of a RESULT that describe ``results``, as JSON without braces; the raw chunks, and their
    bytes in all."""
    if version >= 2:
        alike = _pack_alike(results)
        if alike is not None:
            return alike
    described: List[str] = []
    chunks: List[Any] = []
    total = 0
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
        outputs, size = pack_outputs(result, chunks)
        total += size
        described.append('{"outputs":[%s]}' % outputs)
    return '"items":[%s]' % ",".join(described), chunks, total


def pack_outputs(result: Outputs, chunks: List[Any]) -> Tuple[str, int]:
    """The tensors of one result as JSON, without the brackets, and their bytes; their data is appended to
    ``chunks``."""
    outputs: List[str] = []
    total = 0
    for name, tensor in result.items():
        data = tensor.data
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        outputs.append(_describe(name, tensor.datatype, tensor.shape, size))
        chunks.append(data)
        total += size
    return ",".join(outputs), total


def _pack_alike(results: Sequence[Union[Outputs, ItemError]]) -> "Tuple[str, List[Any], int] | None":
    """As :func:`pack_results` when all results have the same tensors; None when they do not."""
    first = results[0] if results else None
    if isinstance(first, ItemError) or not first:
        return None
    described: List[str] = []
    columns: List[List[Any]] = []
    total = 0
    for name, tensor in first.items():
        data = tensor.data
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        described.append(_describe(name, tensor.datatype, tensor.shape, size))
        column = [data]
        for result in results[1:]:
            if isinstance(result, ItemError) or len(result) != len(first):
                return None
            other = result.get(name)
            if other is None or other.shape != tensor.shape or other.datatype != tensor.datatype:
                return None
            data = other.data
            if (data.nbytes if isinstance(data, memoryview) else len(data)) != size:
                return None
            column.append(data)
        columns.append(column)
        total += size * len(column)
    return (
        '"alike":%d,"outputs":[%s]' % (len(results), ",".join(described)),
        [data for column in columns for data in column],
        total,
    )


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()


@lru_cache(maxsize=1024)
def _describe(name: str, datatype: str, shape: Tuple[int, ...], size: int) -> str:
    """One tensor as JSON; most answers of a model look alike."""
    return json.dumps((name, datatype, shape, size), separators=(",", ":"))
