"""Reads a TensorFlow SavedModel's ``saved_model.pb``: its signatures, and what its graphs run.

Field numbers are those of https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/protobuf (saved_model.proto,
meta_graph.proto) and of tensorflow/core/framework (graph.proto, node_def.proto, function.proto, attr_value.proto).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from modelyard.analyze.protobuf import BYTES, Field, Reader, Span
from modelyard.analyze.tensors import Axis

MAX_NODES: Final = 500_000
_INIT: Final = ("saved_model_main_op", "legacy_init_op")
INIT_SIGNATURE: Final = "__saved_model_init_op"


class Tensor(NamedTuple):
    """A TensorInfo: the graph's name for it, its DataType, its shape (None: unknown rank; an axis: None is any).
    ``plain`` is False for sparse and composite ones."""

    name: str
    datatype: int
    shape: tuple[Axis, ...] | None
    plain: bool


class Entry(NamedTuple):
    """A SignatureDef."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class Node(NamedTuple):
    """A node: its operator, the nodes it takes from, the functions that it calls."""

    operator: str
    inputs: tuple[str, ...]
    functions: tuple[str, ...]


@dataclass
class MetaGraph:
    """One graph with its signatures. ``init`` are the nodes that loading runs, ``restore`` the one that reads the
    variables (empty: none)."""

    tags: list[str] = field(default_factory=list)
    version: str = ""
    signatures: dict[str, Entry] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    functions: dict[str, list[Node]] = field(default_factory=dict)
    init: list[str] = field(default_factory=list)
    restore: str = ""

    def reached(self, names: Iterable[str]) -> Counter[str]:
        """The operators that the nodes of these names need, through functions too; with how often each is there."""
        operators: Counter[str] = Counter()
        seen: set[str] = set()
        functions: set[str] = set()
        left = [name.split(":")[0].lstrip("^") for name in names]
        waiting: list[str] = []
        while left or waiting:
            nodes: list[Node] = []
            if left:
                name = left.pop()
                if name in seen or name not in self.nodes:
                    continue
                seen.add(name)
                nodes = [self.nodes[name]]
                left += [each.split(":")[0].lstrip("^") for each in nodes[0].inputs]
            else:
                name = waiting.pop()
                if name in functions:
                    continue
                functions.add(name)
                nodes = self.functions.get(name, [])
            for node in nodes:
                operators[node.operator] += 1
                waiting += node.functions
        return operators


def read(reader: Reader) -> list[MetaGraph]:
    """The graphs of the file. Raises RejectedContent when it is none or is corrupt."""
    graphs = [
        _meta_graph(reader, reader.message(item))
        for item in reader.fields(reader.whole())
        if item.number == 2
    ]
    if not graphs:
        raise reader.malformed("it has no graph")
    return graphs


def _meta_graph(reader: Reader, span: Span) -> MetaGraph:
    graph = MetaGraph()
    for item in reader.fields(span):
        if item.number == 1:
            _info(reader, reader.message(item), graph)
        elif item.number == 2:
            _graph(reader, reader.message(item), graph)
        elif item.number == 3:
            graph.restore = next((reader.text(each) for each in _of(reader, item, 3)), "")
        elif item.number == 4:
            _collection(reader, item, graph)
        elif item.number == 5:
            name, value = _entry(reader, item)
            if value is not None:
                graph.signatures[name] = _signature(reader, reader.message(value))
    if (told := graph.signatures.pop(INIT_SIGNATURE, None)) is not None:
        graph.init += [tensor.name for tensor in told.outputs.values()]
    return graph


def _of(reader: Reader, item: Field, number: int) -> list[Field]:
    """The fields ``number`` of the message in ``item``."""
    return [each for each in reader.fields(reader.message(item)) if each.number == number]


def _entry(reader: Reader, item: Field) -> tuple[str, Field | None]:
    """An entry of a map: its key, and its value."""
    name, value = "", None
    for each in reader.fields(reader.message(item)):
        if each.number == 1:
            name = reader.text(each)
        elif each.number == 2:
            value = each
    return name, value


def _info(reader: Reader, span: Span, graph: MetaGraph) -> None:
    for item in reader.fields(span):
        if item.number == 4:
            graph.tags.append(reader.text(item))
        elif item.number == 5:
            graph.version = reader.text(item)[:40]


def _collection(reader: Reader, item: Field, graph: MetaGraph) -> None:
    name, value = _entry(reader, item)
    if name in _INIT and value is not None:
        for nodes in _of(reader, value, 1):
            graph.init += [reader.text(each) for each in _of(reader, nodes, 1)]


def _signature(reader: Reader, span: Span) -> Entry:
    told = Entry({}, {})
    for item in reader.fields(span):
        if item.number in (1, 2):
            name, value = _entry(reader, item)
            if value is not None:
                told[item.number - 1][name] = _tensor(reader, reader.message(value))
    return told


def _tensor(reader: Reader, span: Span) -> Tensor:
    name, datatype, shape, plain = "", 0, (), True
    for item in reader.fields(span):
        if item.number == 1:
            name = reader.text(item)
        elif item.number == 2:
            datatype = reader.integer(item)
        elif item.number == 3:
            shape = _shape(reader, reader.message(item))
        elif item.number in (4, 5):
            plain = False
    return Tensor(name, datatype, shape, plain)


def _shape(reader: Reader, span: Span) -> tuple[Axis, ...] | None:
    axes: list[Axis] = []
    for item in reader.fields(span):
        if item.number == 3 and reader.integer(item):
            return None
        if item.number == 2:
            size = next((reader.integer(each) for each in _of(reader, item, 1)), 0)
            axes.append(size if size >= 0 else None)
            if len(axes) > 64:
                raise reader.malformed("a tensor in it has more than 64 axes")
    return tuple(axes)


def _graph(reader: Reader, span: Span, graph: MetaGraph) -> None:
    for item in reader.fields(span):
        if item.number == 1:
            name, node = _node(reader, reader.message(item))
            graph.nodes[name] = node
            if len(graph.nodes) > MAX_NODES:
                raise reader.malformed(f"its graph has more than {MAX_NODES} nodes")
        elif item.number == 2:
            for function in _of(reader, item, 1):
                _function(reader, reader.message(function), graph)


def _function(reader: Reader, span: Span, graph: MetaGraph) -> None:
    name, nodes = "", []
    for item in reader.fields(span):
        if item.number == 1:
            name = next((reader.text(each) for each in _of(reader, item, 1)), "")
        elif item.number == 3:
            nodes.append(_node(reader, reader.message(item))[1])
    # Of two functions of one name both count: which of them TensorFlow takes is not ours to know.
    graph.functions.setdefault(name, []).extend(nodes)


def _node(reader: Reader, span: Span) -> tuple[str, Node]:
    name = operator = ""
    inputs: list[str] = []
    functions: list[str] = []
    for item in reader.fields(span):
        if item.number == 1:
            name = reader.text(item)
        elif item.number == 2:
            operator = reader.text(item)
        elif item.number == 3:
            inputs.append(reader.text(item))
        elif item.number == 5:
            _, value = _entry(reader, item)
            if value is not None:
                functions += _called(reader, value)
    # A node whose operator is the name of a function calls it.
    return name, Node(operator, tuple(inputs), (*functions, operator))


def _called(reader: Reader, value: Field) -> list[str]:
    """The functions that an attribute names: one (func), or a list of them."""
    found: list[str] = []
    for item in reader.fields(reader.message(value)):
        if item.number == 10:
            found += [reader.text(each) for each in _of(reader, item, 1)]
        elif item.number == 1 and item.wire == BYTES:
            for function in _of(reader, item, 9):
                found += [reader.text(each) for each in _of(reader, function, 1)]
    return found
