"""Reads the facts of an ONNX graph: types, shapes, sizes, operators; never a tensor's data.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from modelyard.analyze.protobuf import BYTES, Field, Reader, Span

MAX_GRAPHS_DEEP = 32
MAX_OPERATORS = 4096  # distinct ones
MAX_ELEMENTS = 1 << 48
MAX_PRODUCTS = 100_000  # of which the inputs are kept
PRODUCTS = frozenset(
    {
        "MatMul",
        "Gemm",
        "MatMulInteger",
        "QLinearMatMul",
        "FusedMatMul",
        "FusedGemm",
        "DynamicQuantizeMatMul",
    }
)


class ElementType(NamedTuple):
    """An element type of ONNX: its name, bits per element (0: variable), V2's name for it."""

    name: str
    bits: int
    datatype: str | None


# TensorProto.DataType
ELEMENT_TYPES: dict[int, ElementType] = {
    1: ElementType("float32", 32, "FP32"),
    2: ElementType("uint8", 8, "UINT8"),
    3: ElementType("int8", 8, "INT8"),
    4: ElementType("uint16", 16, "UINT16"),
    5: ElementType("int16", 16, "INT16"),
    6: ElementType("int32", 32, "INT32"),
    7: ElementType("int64", 64, "INT64"),
    8: ElementType("string", 0, "BYTES"),
    9: ElementType("bool", 8, "BOOL"),
    10: ElementType("float16", 16, "FP16"),
    11: ElementType("float64", 64, "FP64"),
    12: ElementType("uint32", 32, "UINT32"),
    13: ElementType("uint64", 64, "UINT64"),
    14: ElementType("complex64", 64, None),
    15: ElementType("complex128", 128, None),
    16: ElementType("bfloat16", 16, None),
    17: ElementType("float8e4m3fn", 8, None),
    18: ElementType("float8e4m3fnuz", 8, None),
    19: ElementType("float8e5m2", 8, None),
    20: ElementType("float8e5m2fnuz", 8, None),
    21: ElementType("uint4", 4, None),
    22: ElementType("int4", 4, None),
    23: ElementType("float4e2m1", 4, None),
    24: ElementType("float8e8m0", 8, None),
    25: ElementType("uint2", 2, None),
    26: ElementType("int2", 2, None),
}


class Value(NamedTuple):
    """An input or output of the graph.

    ``kind`` is "tensor", "sparse_tensor", "sequence", "map", "optional", "opaque" or "unknown".
    ``shape`` is None for an unknown rank; an axis is a length, a symbol, or None when not told.
    """

    name: str
    kind: str
    element: int
    shape: tuple[int | str | None, ...] | None


class External(NamedTuple):
    """Where a tensor's data lies outside of the model file; ``length`` and ``offset`` in bytes."""

    tensor: str
    location: str
    offset: int
    length: int


@dataclass
class Graph:
    """Everything that analysis wants to know of one ModelProto. ``weights``: bytes by element type."""

    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    has_graph: bool = False
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)
    operators: Counter[tuple[str, str]] = field(default_factory=Counter)  # (domain, operator)
    functions: set[tuple[str, str]] = field(default_factory=set)
    parameters: int = 0
    weights: Counter[str] = field(default_factory=Counter)
    numbers: Counter[str] = field(default_factory=Counter)  # of the tensors, by element type
    matrices: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # shapes of initializers with two axes
    products: list[tuple[str, tuple[str, ...]]] = field(
        default_factory=list
    )  # products of matrices, their inputs
    external: list[External] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def read_graph(reader: Reader) -> Graph:
    """Walk the whole file. Raises RejectedContent when it is not an ONNX model or is corrupt."""
    graph = Graph()
    producer = ["", ""]
    for item in reader.fields(reader.whole()):
        if item.number == 1:
            graph.ir_version = reader.integer(item)
        elif item.number in (2, 3):
            producer[item.number - 2] = reader.text(item)
        elif item.number == 7:
            graph.has_graph = True
            _graph(reader, reader.message(item), graph, 0)
        elif item.number == 8:
            domain, version = _opset(reader, reader.message(item))
            graph.opsets[domain] = version
        elif item.number == 14 and len(graph.metadata) < 100:
            key, value = _entry(reader, reader.message(item))
            graph.metadata[key] = value
        elif item.number == 25:
            _function(reader, reader.message(item), graph)
    graph.producer = " ".join(part for part in producer if part)
    return graph


def _opset(reader: Reader, span: Span) -> tuple[str, int]:
    domain, version = "", 0
    for item in reader.fields(span):
        if item.number == 1:
            domain = reader.text(item)
        elif item.number == 2:
            version = reader.integer(item)
    return ("" if domain == "ai.onnx" else domain), version


def _graph(reader: Reader, span: Span, graph: Graph, depth: int) -> None:
    """One GraphProto; the outermost (``depth`` 0) has the model's inputs and outputs."""
    if depth > MAX_GRAPHS_DEEP:
        raise reader.malformed(f"its graphs are nested deeper than {MAX_GRAPHS_DEEP}")
    for item in reader.fields(span):
        if item.number == 1:
            _node(reader, reader.message(item), graph, depth)
        elif item.number == 5:
            name = _tensor(reader, reader.message(item), graph)
            if depth == 0:
                graph.initializers.add(name)
        elif item.number == 15:
            _sparse(reader, reader.message(item), graph, depth)
        elif depth == 0 and item.number in (11, 12):
            (graph.inputs if item.number == 11 else graph.outputs).append(
                _value(reader, reader.message(item))
            )


def _node(reader: Reader, span: Span, graph: Graph, depth: int) -> None:
    operator, domain = "", ""
    inputs: list[str] = []
    for item in reader.fields(span):
        if item.number == 1 and len(inputs) < 16:
            inputs.append(reader.text(item))
        elif item.number == 4:
            operator = reader.text(item)
        elif item.number == 7:
            domain = reader.text(item)
        elif item.number == 5:
            _attribute(reader, reader.message(item), graph, depth)
    if operator in PRODUCTS and len(graph.products) < MAX_PRODUCTS:
        graph.products.append((operator, tuple(inputs)))
    graph.operators[("" if domain == "ai.onnx" else domain, operator[:128])] += 1
    if len(graph.operators) > MAX_OPERATORS:
        raise reader.malformed(f"it uses more than {MAX_OPERATORS} different operators")


def _attribute(reader: Reader, span: Span, graph: Graph, depth: int) -> None:
    """Attributes matter for what they hold: tensors (weights in constants) and graphs (branches)."""
    for item in reader.fields(span):
        if item.number in (5, 10):
            _tensor(reader, reader.message(item), graph)
        elif item.number in (6, 11):
            _graph(reader, reader.message(item), graph, depth + 1)


def _function(reader: Reader, span: Span, graph: Graph) -> None:
    """FunctionProto: an operator that the model itself defines."""
    name = domain = ""
    for item in reader.fields(span):
        if item.number == 1:
            name = reader.text(item)
        elif item.number == 10:
            domain = reader.text(item)
        elif item.number == 7:
            _node(reader, reader.message(item), graph, 1)
    graph.functions.add((domain, name))


def _tensor(reader: Reader, span: Span, graph: Graph) -> str:
    """Count one TensorProto and check that its data is as long as its shape says."""
    name, element, elements = "", 0, 1
    shape: list[int] = []
    raw: int | None = None
    entries: dict[str, str] = {}
    outside = False
    for item in reader.fields(span):
        if item.number == 1:
            for length in reader.integers(item):
                if length < 0:
                    raise reader.malformed(f"a tensor has an axis of length {length}")
                elements = min(elements * length, MAX_ELEMENTS + 1)
                shape = [*shape[:2], length]  # of matrices alone; three axes tell that it is none
        elif item.number == 2:
            element = reader.integer(item)
        elif item.number == 8:
            name = reader.text(item)
        elif item.number == 9 and item.wire == BYTES:
            raw = item.value
        elif item.number == 13 and len(entries) < 16:
            key, value = _entry(reader, reader.message(item))
            entries[key] = value
        elif item.number == 14:
            outside = reader.integer(item) == 1
    kind = ELEMENT_TYPES.get(element)
    if kind is None:
        raise reader.malformed(f"the tensor {name[:100]!r} has the unknown element type {element}")
    if elements > MAX_ELEMENTS:
        raise reader.malformed(f"the tensor {name[:100]!r} has an impossible shape")
    size = (elements * kind.bits + 7) // 8
    if raw is not None and kind.bits and raw != size and not outside:
        raise reader.malformed(
            f"the tensor {name[:100]!r} has {raw} bytes of data, and its shape asks for {size}"
        )
    if outside:
        graph.external.append(_external(reader, name, entries, size))
    graph.parameters += elements
    graph.numbers[kind.name] += elements
    if len(shape) == 2 and len(graph.matrices) < MAX_PRODUCTS:
        graph.matrices[name] = (shape[0], shape[1])
    graph.weights[kind.name] += size if kind.bits else 16 * elements
    return name


def _external(reader: Reader, name: str, entries: dict[str, str], size: int) -> External:
    numbers: dict[str, int] = {}
    for key, default in (("offset", 0), ("length", size)):
        text = entries.get(key, str(default))
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise reader.malformed(f"the {key} of the external data of {name[:100]!r} is {text[:40]!r}")
        numbers[key] = int(text)
    return External(name, entries.get("location", ""), numbers["offset"], numbers["length"])


def _sparse(reader: Reader, span: Span, graph: Graph, depth: int) -> None:
    """SparseTensorProto: its values are a tensor that carries the initializer's name."""
    for item in reader.fields(span):
        if item.number in (1, 2):
            name = _tensor(reader, reader.message(item), graph)
            if item.number == 1 and depth == 0:
                graph.initializers.add(name)


def _entry(reader: Reader, span: Span) -> tuple[str, str]:
    key = value = ""
    for item in reader.fields(span):
        if item.number == 1:
            key = reader.text(item)
        elif item.number == 2:
            value = reader.text(item) if item.value <= 1024 else ""
    return key, value


_TYPES = {4: "sequence", 5: "map", 7: "opaque", 8: "sparse_tensor", 9: "optional"}


def _value(reader: Reader, span: Span) -> Value:
    """ValueInfoProto: name and type."""
    value = Value("", "unknown", 0, None)
    for item in reader.fields(span):
        if item.number == 1:
            value = value._replace(name=reader.text(item))
        elif item.number == 2:
            for kind in reader.fields(reader.message(item)):
                if kind.number == 1:
                    element, shape = _tensor_type(reader, reader.message(kind))
                    value = value._replace(kind="tensor", element=element, shape=shape)
                elif kind.number in _TYPES:
                    value = value._replace(kind=_TYPES[kind.number])
    return value


def _tensor_type(reader: Reader, span: Span) -> tuple[int, tuple[int | str | None, ...] | None]:
    element, shape = 0, None
    for item in reader.fields(span):
        if item.number == 1:
            element = reader.integer(item)
        elif item.number == 2:
            axes = [axis for axis in reader.fields(reader.message(item)) if axis.number == 1]
            if len(axes) > 64:
                raise reader.malformed(f"a shape has {len(axes)} axes")
            shape = tuple(_axis(reader, axis) for axis in axes)
    return element, shape


def _axis(reader: Reader, axis: Field) -> int | str | None:
    """A length, a symbol, or None; exporters write lengths of 0 and -1 for "any"."""
    result: int | str | None = None
    for item in reader.fields(reader.message(axis)):
        if item.number == 1:
            length = reader.integer(item)
            result = length if length > 0 else None
        elif item.number == 2:
            result = reader.text(item) or None
    return result
