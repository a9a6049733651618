"""What node and executor say to each other, typed: the node's side of ``modelyard_executor.wire``."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Annotated

import msgspec

from modelyard.core.errors import ERROR_KINDS, Internal, ModelyardError
from modelyard.core.signature import Signature
from modelyard.serve.call import Answer, Call, RawTensor, Result
from modelyard.serve.pool.bounds import Bounds

Size = Annotated[int, msgspec.Meta(ge=0)]
WireTensor = tuple[str, str, tuple[Size, ...], Size]

COSTS = ("rows", "length", "elements")
SHAPES = ("rows", "padded", "ragged", "quadratic")


class Start(msgspec.Struct, tag="START"):
    """The first frame: what to load, and how; what it may touch, and whether it is to adopt what its
    model lets go of; what is ``known`` of its signature, since the same version was loaded here before."""

    versions: tuple[int, ...]
    adapter: str
    files: str
    device: str
    threads: int
    options: dict[str, object]
    trusted: bool
    slabs: bool = False
    computed: bool = False
    modules: bool = False
    progress: bool = False
    confine: Bounds | None = None
    adopt: bool = False
    known: Signature | None = None


class _Item(msgspec.Struct, omit_defaults=True):
    inputs: list[WireTensor]
    parameters: object = {}
    stream: bool = False


class Cancel(msgspec.Struct, tag="CANCEL"):
    """Nobody waits for these items of a batch any more."""

    batch: int
    items: list[int]


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an item costs: its rows, the length of the input ``of``, or that input's elements; and how the
    costs of a batch add up (``padded``: each counts as the longest)."""

    cost: str
    shape: str
    of: str = ""


class Hello(msgspec.Struct, tag="HELLO"):
    """What an executor says once its model is loaded. Memory in bytes, resident. ``depth``: batches that
    it takes, the one that it computes included. ``streams``: its model answers in pieces. ``modules`` of installed packages it has imported.
    ``tolerance``: how far an answer may be from the same one computed beside others, relative to the largest
    number of its output; None where calls are never computed together. ``held``: what it is confined by."""

    version: int
    adapter: str
    signature: Signature
    cost: Cost
    example: dict[str, object] | None
    resources: dict[str, object]
    memory: int
    pid: int
    depth: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    streams: bool = False
    slabs: bool = False
    modules: list[str] = []
    tolerance: float | None = None
    held: dict[str, str] = {}


class Free(msgspec.Struct, tag="FREE"):
    """The bodies in these slabs are not read any more."""

    slabs: list[int]


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
    """The answer to a batch: one result per item, in order, or ``alike`` results of the same ``outputs``;
    none when it was ``out_of_memory``."""

    batch: int
    compute_us: int
    items: list[_ItemResult] = []
    alike: int = 0
    outputs: list[WireTensor] = []
    out_of_memory: bool = False
    slab: tuple[int, int] | None = None


class Stream(msgspec.Struct, tag="STREAM"):
    """One piece of the answer to a streamed item."""

    batch: int
    index: int
    outputs: list[WireTensor]


class Progress(msgspec.Struct, tag="PROGRESS"):
    """How far the computation of a batch is: a part of the whole, if that is known, and a text."""

    batch: int
    fraction: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    message: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class Computed(msgspec.Struct, tag="COMPUTED"):
    """A batch is computed, its result follows, and the next one has begun."""

    batch: int


class Pong(msgspec.Struct, tag="PONG"):
    """The executor's loop turns."""


decode = msgspec.json.Decoder(Hello | Failed | BatchResult | Stream | Progress | Computed | Pong).decode
encode = msgspec.json.Encoder().encode


def check_hello(hello: Hello, offered: Sequence[int]) -> None:
    """Raise ValueError for what this node does not know: it is refused, not ignored."""
    cost = hello.cost
    if hello.version not in offered:
        raise ValueError(f"it chose version {hello.version} of the wire, which was not offered")
    inputs = [spec.name for spec in hello.signature.inputs]
    known = cost.cost in COSTS and cost.shape in SHAPES and (cost.cost == "rows") == (cost.of == "")
    if not known or (cost.of and cost.of not in inputs):
        raise ValueError(f"it declares a cost that this node does not know: {cost}")


def batch_frame(
    calls: Sequence[Call], version: int, streams: bool
) -> tuple[bytes, Sequence[bytes | memoryview], int]:
    """The header of a BATCH from behind its number on, its raw tensors, and their bytes in all; alike calls
    are described once where ``version`` has it."""
    if version >= 2 and (alike := _alike(calls)) is not None:
        described, chunks = alike
        return _alike_tail(len(calls), described), chunks, len(calls) * sum([each[3] for each in described])
    items: list[_Item] = []
    chunks: list[bytes | memoryview] = []
    total = 0
    for call in calls:
        inputs: list[WireTensor] = []
        for tensor in call.inputs:
            size = len(tensor.data)
            inputs.append((tensor.name, tensor.datatype, tensor.shape, size))
            chunks.append(tensor.data)
            total += size
        items.append(_Item(inputs, call.parameters, streams and call.stream))
    return b'"items":%b}' % encode(items), chunks, total


def _alike(calls: Sequence[Call]) -> tuple[tuple[WireTensor, ...], list[bytes | memoryview]] | None:
    """What all calls have in common and their data, tensor by tensor; None when they differ."""
    first = calls[0]
    if first.parameters or first.stream:
        return None
    described = tuple(
        [(tensor.name, tensor.datatype, tensor.shape, len(tensor.data)) for tensor in first.inputs]
    )
    if len(calls) == 1:
        return described, [tensor.data for tensor in first.inputs]
    for call in calls:
        if call.parameters or call.stream or len(call.inputs) != len(described):
            return None
        for tensor, (name, datatype, shape, size) in zip(call.inputs, described, strict=True):
            if (
                tensor.shape != shape
                or len(tensor.data) != size
                or tensor.name != name
                or tensor.datatype != datatype
            ):
                return None
    return described, [call.inputs[column].data for column in range(len(described)) for call in calls]


@lru_cache(maxsize=1024)
def _alike_tail(count: int, described: tuple[WireTensor, ...]) -> bytes:
    return b'"alike":%d,"inputs":%b}' % (count, encode(described))


def results(
    message: BatchResult, body: memoryview, count: int, streamed: Collection[int] = ()
) -> list[Result]:
    """``count`` results: errors as values, tensors as views of the body; () of those that were ``streamed``.

    Raises ValueError when the frame does not hold that many, or its sizes disagree.
    """
    if message.alike:
        return _alike_results(message, body, count)
    if len(message.items) != count:
        raise ValueError(f"{len(message.items)} results for a batch of {count}")
    results: list[Result] = []
    position = 0
    for index, item in enumerate(message.items):
        if item.error is not None:
            code = item.error.code if item.error.code in ERROR_KINDS else "internal"
            results.append(ModelyardError(item.error.message, field=item.error.field, code=code))
            continue
        answer: list[RawTensor] = []
        for name, datatype, shape, size in item.outputs or ():
            answer.append(RawTensor(name, datatype, shape, body[position : position + size]))
            position += size
        given = answer or index in streamed
        results.append(tuple(answer) if given else Internal("The model gave no output."))
    if position != len(body):
        raise ValueError(f"a result lists {position} bytes of tensors and brings {len(body)}")
    return results


def _alike_results(message: BatchResult, body: memoryview, count: int) -> list[Result]:
    outputs = message.outputs
    if message.alike != count or message.items or not outputs:
        raise ValueError(f"{message.alike} results of one kind for a batch of {count}")
    size = count * sum([output[3] for output in outputs])
    if size != len(body):
        raise ValueError(f"a result lists {size} bytes of tensors and brings {len(body)}")
    if len(outputs) == 1:
        name, datatype, shape, size = outputs[0]
        return [
            (RawTensor(name, datatype, shape, body[index * size : index * size + size]),)
            for index in range(count)
        ]
    answers: list[Result] = []
    for index in range(count):
        column = 0
        answer: list[RawTensor] = []
        for name, datatype, shape, size in outputs:
            start = column + index * size
            answer.append(RawTensor(name, datatype, shape, body[start : start + size]))
            column += count * size
        answers.append(tuple(answer))
    return answers


def piece(message: Stream, body: memoryview) -> Answer:
    """The outputs of a STREAM. Raises ValueError when its sizes disagree."""
    answer: list[RawTensor] = []
    position = 0
    for name, datatype, shape, size in message.outputs:
        answer.append(RawTensor(name, datatype, shape, body[position : position + size]))
        position += size
    if position != len(body) or not answer:
        raise ValueError(f"a piece lists {position} bytes of tensors and brings {len(body)}")
    return tuple(answer)
