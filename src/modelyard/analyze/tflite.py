"""TensorFlow Lite (LiteRT) models: a FlatBuffer with the graph and its weights; loading one runs nothing.

The numbers of fields are those of https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/schema/schema.fbs.
"""

import re
from collections.abc import Sequence
from math import prod
from typing import Final

from modelyard.analyze import detect as content
from modelyard.analyze import tensors
from modelyard.analyze.candidates import choose
from modelyard.analyze.flatbuffer import FlatBuffer, Table
from modelyard.analyze.footprint import estimate
from modelyard.analyze.plain import plain
from modelyard.analyze.tensors import Value
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.units import format_bytes

NAME = "tflite"
REQUIREMENTS = ("ai-edge-litert>=2,<3", "numpy>=1.26,<3")
SUFFIXES = (".tflite", ".lite")
_MARK: Final = b"TFL3"
_DATATYPES: Final = {
    0: "FP32", 1: "FP16", 2: "INT32", 3: "UINT8", 4: "INT64", 6: "BOOL", 7: "INT16", 9: "INT8", 10: "FP64",
    12: "UINT64", 15: "UINT32", 16: "UINT16",
}  # fmt: skip
_PRECISIONS: Final = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16", 8: "complex64", 9: "int8",
    10: "float64", 12: "uint64", 15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16",
}  # fmt: skip
_CUSTOM: Final = 32  # BuiltinOperator.CUSTOM
# Operators named so that the runtime has all the same.
_KNOWN_CUSTOM: Final = frozenset({"TFLite_Detection_PostProcess"})
_MOST: Final = 1000  # inputs or outputs


def detect(files: Files) -> bool:
    """Whether a file of the top folder is named so."""
    return any(path.lower().endswith(SUFFIXES) and "/" not in path for path in files.paths)


def analyze(files: Files) -> Analysis:
    """Describe the model. Raises RejectedContent."""
    path = choose(files, SUFFIXES, "model.tflite")
    head = content.head_of(files, path)
    if head[4:8] != _MARK:
        what = content.identify(head, files.size(path)) or "something else"
        content.refuse_unless(what, "a TensorFlow Lite model", path)
    model = FlatBuffer(files, path, "a TensorFlow Lite model").root()
    operators = _operators(model, path)
    graphs = list(model.tables(2))
    if not graphs:
        raise RejectedContent(f"{path} has no graph, so there is nothing to predict.", field=path)
    graph = graphs[0]
    names = _names(model)
    inputs = _values(graph, path, 1, names[0])
    outputs = _values(graph, path, 2, names[1])
    again = "Convert it again"
    tensors.check(path, [value for _, value in inputs], [value for _, value in outputs], again)
    signature = tensors.signature([value for _, value in inputs], [value for _, value in outputs])
    size = files.size(path)
    weights = _weights(model, path, size)
    precisions = _precisions(model, graphs)
    return Analysis(
        format="tflite",
        adapter=NAME,
        signature=signature,
        requirements=REQUIREMENTS,
        options={
            "file": path,
            "inputs": [place for place, _ in inputs],
            "outputs": [place for place, _ in outputs],
            "signature": plain(signature),
        },
        parameters=sum(precisions.values()) or None,
        size_bytes=size,
        precision=max(precisions, key=lambda each: precisions[each]) if precisions else None,
        precisions=precisions,
        runtime=_runtime(model),
        memory_bytes=estimate("tflite", weights),
        details={
            "form": str(model.number(0, "<I")),
            "description": model.text(3)[:200],
            "operators": str(sum(1 for _ in graph.tables(3))),
            "kinds of operators": str(operators),
            "weights": format_bytes(weights),
        },
        warnings=tensors.warnings(signature),
    )


def _operators(model: Table, path: str) -> int:
    """How many kinds of operators there are. Raises RejectedContent for one that the runtime does not have."""
    count = 0
    for code in model.tables(1):
        count += 1
        # The first field held the number until there were more than 127 of them.
        kind = max(code.number(0, "<b"), code.number(3))
        name = code.text(1)
        if kind == _CUSTOM and name not in _KNOWN_CUSTOM:
            flex = name.startswith("Flex")
            raise RejectedContent(
                f"{path} uses the operator {name[:100]!r}, "
                + (
                    "which only TensorFlow itself has (a Flex operator). Serve its SavedModel folder, or convert it "
                    "with TFLITE_BUILTINS alone."
                    if flex
                    else "which LiteRT does not have. Convert the model again with the operators of TFLITE_BUILTINS."
                ),
                field=path,
            )
    return count


def _weights(model: Table, path: str, size: int) -> int:
    """Bytes of all weights, inside the buffer or behind it; each has to be in the file."""
    total = 0
    for buffer in model.tables(4):
        begin, length = buffer.bytes_at(0)
        if buffer.number(1, "<Q") > 1:  # behind the FlatBuffer, as in files of over 2 GB
            begin, length = buffer.number(1, "<Q"), buffer.number(2, "<Q")
        if begin + length > size:
            raise RejectedContent(
                f"{path} is truncated: its weights reach to byte {begin + length}, and it has {size}. Copy it again.",
                field=path,
            )
        total += length
    return total


def _precisions(model: Table, graphs: Sequence[Table]) -> dict[str, int]:
    """How many numbers the constants have, by type: tensors whose buffer is not empty."""
    filled = {
        number
        for number, buffer in enumerate(model.tables(4))
        if buffer.bytes_at(0)[1] or buffer.number(2, "<Q")
    }
    found: dict[str, int] = {}
    counted: set[int] = set()  # two tensors may share a buffer
    for graph in graphs:
        for tensor in graph.tables(0):
            buffer = tensor.number(2, "<I")
            if buffer not in filled or buffer in counted:
                continue
            counted.add(buffer)
            kind = _PRECISIONS.get(tensor.number(1, "<b"), f"type {tensor.number(1, '<b')}")
            count = prod(max(0, length) for length in tensor.numbers(0))
            found[kind] = found.get(kind, 0) + min(count, 1 << 48)
    return found


def _runtime(model: Table) -> dict[str, str]:
    """The form, and the first release that has all of its operators, where the converter wrote that down."""
    needs = {"TensorFlow Lite form": str(model.number(0, "<I"))}
    buffers = list(model.tables(4))
    for entry in model.tables(6):
        if entry.text(0) == "min_runtime_version" and entry.number(1, "<I") < len(buffers):
            begin, length = buffers[entry.number(1, "<I")].bytes_at(0)
            text = model.bytes_of(begin, min(length, 32)).rstrip(b"\0").decode("ascii", "replace")
            if re.fullmatch(r"\d+(\.\d+)+", text):
                needs["LiteRT"] = f">={text}"
    return needs


def _names(model: Table) -> tuple[dict[int, str], dict[int, str]]:
    """The signature's own names of inputs and outputs, by the number of their tensor; none when there are several
    signatures, or one of another graph."""
    told = list(model.tables(7))
    if len(told) != 1 or told[0].number(4, "<I"):
        return {}, {}
    inputs = {each.number(1, "<I"): each.text(0) for each in told[0].tables(0)}
    return inputs, {each.number(1, "<I"): each.text(0) for each in told[0].tables(1)}


def _values(graph: Table, path: str, field: int, names: dict[int, str]) -> list[tuple[int, Value]]:
    """The inputs (field 1) or outputs (2) of the graph, each with the number of its tensor."""
    if graph.length(field) > _MOST:
        raise RejectedContent(
            f"{path} is corrupt: it has {graph.length(field)} inputs or outputs.", field=path
        )
    wanted = graph.numbers(field)
    every = dict(_tensors(graph, frozenset(wanted)))
    found: list[tuple[int, Value]] = []
    for number in wanted:
        tensor = every.get(number)
        if tensor is None:
            raise RejectedContent(
                f"{path} is corrupt: its graph speaks of tensor {number}, which is not there.", field=path
            )
        name = names.get(number) or tensor.text(3)
        datatype = _DATATYPES.get(tensor.number(1, "<b"))
        if datatype is None:
            raise RejectedContent(
                f"{path}: {name[:100]!r} is of a type (number {tensor.number(1, '<b')}) that cannot be sent. Convert the "
                "model with inputs and outputs of float32.",
                field=path,
            )
        found.append((number, Value(name, datatype, _shape(tensor), _quantization(tensor))))
    return found


def _tensors(graph: Table, wanted: frozenset[int]) -> list[tuple[int, Table]]:
    return [(number, tensor) for number, tensor in enumerate(graph.tables(0)) if number in wanted]


def _shape(tensor: Table) -> tuple[int | None, ...]:
    """With None where an axis may be of any length."""
    return tuple(length if length >= 0 else None for length in tensor.numbers(7) or tensor.numbers(0))


def _quantization(tensor: Table) -> str:
    """What a number of a quantized tensor stands for, for people."""
    told = tensor.table(4)
    if told is None or told.length(2) != 1 or told.length(3) != 1:
        return ""
    scale: Sequence[float] = told.numbers(2, "f")
    zero = told.numbers(3, "q")[0]
    return f"quantized: value = {scale[0]:.9g} * (number - {zero})"
