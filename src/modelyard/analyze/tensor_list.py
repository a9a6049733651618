"""The tensors of a model by name, as the headers of its files tell them: type, shape, and where their bytes lie.

Of safetensors, ONNX (initializers, in the file or beside it) and GGUF. Nothing but headers is read.
"""

import posixpath
from typing import NamedTuple

from modelyard.analyze import gguf, onnx, safetensors
from modelyard.analyze.onnx_graph import ELEMENT_TYPES
from modelyard.analyze.protobuf import BYTES, Reader, Span
from modelyard.core.files import Files

_MOST = 500_000


class Placed(NamedTuple):
    """One tensor. ``start`` and ``size`` are bytes of the file ``path``; ``size`` is None where its bytes do not lie in
    one piece."""

    datatype: str
    shape: tuple[int, ...]
    path: str
    start: int
    size: int | None


def list_tensors(files: Files) -> dict[str, Placed] | None:
    """The tensors of all files that tell theirs; None when no file does. Of two of one name the first is kept.

    Raises RejectedContent for a file that is not what its name says.
    """
    found: dict[str, Placed] = {}
    told = False
    for path in files.paths:
        lower = path.lower()
        if lower.endswith(".safetensors"):
            tensors = _of_safetensors(files, path)
        elif lower.endswith(".gguf"):
            tensors = _of_gguf(files, path)
        elif lower.endswith(onnx.SUFFIXES):
            tensors = _of_onnx(files, path)
        else:
            continue
        told = True
        for name, placed in tensors.items():
            found.setdefault(name, placed)
    return found if told else None


def _of_safetensors(files: Files, path: str) -> dict[str, Placed]:
    data, tensors = safetensors.read_tensors(files, path)
    return {
        name: Placed(
            each.dtype,
            tuple(each.shape),
            path,
            data + each.data_offsets[0],
            each.data_offsets[1] - each.data_offsets[0],
        )
        for name, each in tensors.items()
    }


def _of_gguf(files: Files, path: str) -> dict[str, Placed]:
    listed = gguf.list_tensors(files, path)
    return {each.name: Placed(each.datatype, each.shape, path, each.start, each.size) for each in listed}


def _of_onnx(files: Files, path: str) -> dict[str, Placed]:
    """The initializers of the main graph: GraphProto is field 7 of ModelProto, its initializers are field 5."""
    reader = Reader(files, path, "an ONNX model")
    found: dict[str, Placed] = {}
    for model in reader.fields(reader.whole()):
        if model.number != 7:
            continue
        for item in reader.fields(reader.message(model)):
            if item.number == 5 and len(found) < _MOST:
                name, placed = _initializer(reader, reader.message(item), path)
                found.setdefault(name, placed)
    return found


def _initializer(reader: Reader, span: Span, path: str) -> tuple[str, Placed]:
    name, element, shape = "", 0, []
    start, size = span.start, None
    outside: dict[str, str] = {}
    for item in reader.fields(span):
        if item.number == 1:
            shape += reader.integers(item)
        elif item.number == 2:
            element = reader.integer(item)
        elif item.number == 8:
            name = reader.text(item)
        elif item.number == 9 and item.wire == BYTES:
            start, size = item.span.start, item.value
        elif item.number == 13 and len(outside) < 16:
            entry = {
                part.number: reader.text(part)
                for part in reader.fields(reader.message(item))
                if part.number in (1, 2)
            }
            outside[entry.get(1, "")] = entry.get(2, "")
    kind = ELEMENT_TYPES.get(element)
    datatype = kind.name if kind is not None else f"element type {element}"
    if "location" in outside:
        where = posixpath.normpath(posixpath.join(posixpath.dirname(path), outside["location"]))
        offset, length = outside.get("offset", "0"), outside.get("length", "")
        return name, Placed(
            datatype, tuple(shape), where, int(offset) if offset.isdigit() else 0, int(length) if length.isdigit() else None
        )  # fmt: skip
    return name, Placed(datatype, tuple(shape), path, start, size)
