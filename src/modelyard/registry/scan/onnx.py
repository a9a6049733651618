"""ONNX: operators that a library beside ONNX Runtime would have to bring, and data in files elsewhere.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Iterator
from typing import Final

from modelyard.registry.scan.protobuf import BYTES, VARINT, Field, Messages
from modelyard.registry.scan.view import Report, View

NAME: Final = "an ONNX model"
_DOMAINS: Final = frozenset(
    {
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.training",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.nchwc",
    }
    | {"com.microsoft.experimental", "com.ms.internal.nhwc", "org.pytorch.aten", "pkg.onnxscript.torch_lib"}
)
_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})


def looks(view: View) -> bool:
    """By its name, or by fields that only ONNX has in this order of kinds: an IR version, a graph."""
    if view.name.lower().endswith(".onnx"):
        return True
    if view.head[:1] != b"\x08" or view.source.size < 16:
        return False
    try:
        found = list(Messages(view.source).fields(0, view.source.size))
    except ValueError:
        return False
    kinds = {field.number: field.wire for field in found}
    return (
        kinds.keys() <= _FIELDS
        and kinds.get(1) == VARINT
        and kinds.get(7) == BYTES
        and kinds.get(8) == BYTES
    )


def scan(view: View, report: Report) -> None:
    messages = Messages(view.source)
    nodes: dict[tuple[str, str], int] = {}
    functions: set[tuple[str, str]] = set()
    for field in messages.fields(0, view.source.size):
        if field.number == 7:
            _graph(messages, field, nodes, report, 0)
        elif field.number == 20:
            for each in messages.message(field):
                if each.number in (1, 2):
                    _graph(messages, each, nodes, report, 0)
        elif field.number == 25:
            functions.add(_function(messages, field, nodes, report))
    for (domain, operator), offset in nodes.items():
        if domain not in _DOMAINS and (domain, operator) not in functions:
            path = f"{domain[:100]}.{operator[:100]}"
            report.add("executes", f"an ONNX model with the custom operator {path}, which a library would have to bring", offset, path)  # fmt: skip


def _graph(
    messages: Messages, field: Field, nodes: dict[tuple[str, str], int], report: Report, depth: int
) -> None:
    if depth > 32:
        raise ValueError("its graphs are nested deeper than 32")
    for each in messages.message(field):
        if each.number == 1:
            _node(messages, each, nodes, report, depth)
        elif each.number == 5:
            _tensor(messages, each, report)
        elif each.number == 15:
            for part in messages.message(each):
                if part.number in (1, 2):
                    _tensor(messages, part, report)


def _node(
    messages: Messages, field: Field, nodes: dict[tuple[str, str], int], report: Report, depth: int
) -> None:
    operator = domain = ""
    for each in messages.message(field):
        if each.number == 4:
            operator = messages.text(each)
        elif each.number == 7:
            domain = messages.text(each)
        elif each.number == 5:
            for part in messages.message(each):
                if part.number in (6, 11):
                    _graph(messages, part, nodes, report, depth + 1)
                elif part.number in (5, 10):
                    _tensor(messages, part, report)
    nodes.setdefault((domain, operator), field.start)


def _function(
    messages: Messages, field: Field, nodes: dict[tuple[str, str], int], report: Report
) -> tuple[str, str]:
    name = domain = ""
    for each in messages.message(field):
        if each.number == 1:
            name = messages.text(each)
        elif each.number == 10:
            domain = messages.text(each)
        elif each.number == 7:
            _node(messages, each, nodes, report, 0)
    return domain, name


def _tensor(messages: Messages, field: Field, report: Report) -> None:
    for each in messages.message(field):
        if each.number == 13:
            key, value = _entry(messages, messages.message(each))
            parts = value.replace("\\", "/").split("/")
            if key == "location" and (
                value.startswith(("/", "\\")) or ".." in parts or parts[0][1:2] == ":"
            ):
                report.add("malicious", f"an ONNX model whose data lie outside of its folder: {value[:200]}", each.start, value)  # fmt: skip


def _entry(messages: Messages, fields: Iterator[Field]) -> tuple[str, str]:
    key = value = ""
    for each in fields:
        if each.number == 1:
            key = messages.text(each)
        elif each.number == 2:
            value = messages.text(each)
    return key, value
