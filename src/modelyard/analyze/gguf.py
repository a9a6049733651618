"""A language model in a GGUF file (llama.cpp): its header says what it is; of the tensors only their sizes are read.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import struct
from collections import Counter
from itertools import pairwise
from math import prod
from typing import Final, NamedTuple

from modelyard.analyze import detect as content
from modelyard.analyze.flops import counted
from modelyard.analyze.plain import plain
from modelyard.analyze.streams import Stream
from modelyard.analyze.transformers_task import generation
from modelyard.analyze.window import Window
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis, Interval
from modelyard.core.units import format_bytes

NAME = "gguf"
REQUIREMENTS = ("xllamacpp>=2026.10",)
CONTEXT: Final = (
    8192  # tokens at most that texts being written have together, whatever more the model reads
)
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
_MOST_KEYS, _MOST_TENSORS, _MOST_ITEMS = 10_000, 200_000, 5_000_000
_LONGEST = 1024 * 1024  # bytes of a text that is kept
# general.file_type; others are told by their number
_PRECISIONS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
# ggml_type: of the tensors
_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K",
    13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
    22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip
_LOOKED_UP = ("position_embd.", "token_types.", "rope_")
_LONGEST_NAME = 4096  # bytes; the library itself allows 64
_BASE = 60_000_000  # bytes of a process with llama.cpp and nothing loaded


class _Tensor(NamedTuple):
    name: str
    shape: tuple[int, ...]
    kind: str
    numbers: int
    offset: int  # in the data


class Header(NamedTuple):
    """The keys whose values are numbers or text, and the tensors."""

    values: dict[str, object]
    tensors: tuple[_Tensor, ...]
    version: int

    def number(self, key: str, default: int = 0) -> int:
        """A whole number of the architecture's own, such as ``context_length``."""
        value = self.values.get(f"{self.values.get('general.architecture')}.{key}")
        return value if isinstance(value, int) and value >= 0 else default

    def text(self, key: str) -> str:
        """A text, shortened."""
        value = self.values.get(key)
        return value[:200] if isinstance(value, str) else ""


def detect(files: Files) -> bool:
    """Whether there is a GGUF file in the top folder."""
    return any(path.lower().endswith(".gguf") and "/" not in path for path in files.paths)


def analyze(files: Files) -> Analysis:
    """Describe the model. Raises RejectedContent."""
    paths = [path for path in files.paths if path.lower().endswith(".gguf") and "/" not in path]
    first = [path for path in paths if "-00001-of-" in path]  # the others follow from its name
    if len(paths) > 1 and len(first) != 1:
        raise RejectedContent(
            f"There are several GGUF files: {', '.join(paths[:8])}. Deploy one of them alone.",
            field=paths[0],
        )
    path = (first or paths)[0]
    header = read_header(files, path)
    others = [read_header(files, each) for each in paths if each != path]
    tensors = [tensor for each in (header, *others) for tensor in each.tensors]
    precisions: Counter[str] = Counter()
    for tensor in tensors:
        precisions[tensor.kind] += tensor.numbers
    multiplied = _multiplied(header, tensors)
    size = sum(files.size(each) for each in paths)
    context = min(header.number("context_length", CONTEXT) or CONTEXT, CONTEXT)
    signature = generation(context, "tokenizer.chat_template" in header.values)
    precision = header.values.get("general.file_type")
    details = {
        "name": header.text("general.name"),
        "architecture": header.text("general.architecture"),
        "precision": _PRECISIONS.get(precision, f"type {precision}") if isinstance(precision, int) else "",
        "weights": format_bytes(size),
        "tokens at most": f"{header.number('context_length')}, of which {context} are used",
        "licence": header.text("general.license"),
    }
    return Analysis(
        format="GGUF",
        adapter=NAME,
        signature=signature,
        requirements=REQUIREMENTS,
        options={"file": path, "context": context, "signature": plain(signature)},
        example={"prompt": "Name three colours."},
        parameters=sum(tensor.numbers for tensor in tensors),
        size_bytes=size,
        precision=details["precision"] or (precisions.most_common(1)[0][0] if precisions else None),
        precisions=dict(precisions),
        context_length=header.number("context_length") or None,
        runtime={
            "GGUF": str(header.version),
            "llama.cpp with": header.text("general.architecture") or "not told",
        },
        flops=counted(multiplied) if multiplied else None,
        memory_bytes=Interval(low=size, high=size + _BASE + context * _per_token(header) + size // 5),
        details={label: value for label, value in details.items() if value},
    )


def _multiplied(header: Header, tensors: list[_Tensor]) -> int:
    """How many weights each token is multiplied with: without the table of words, unless words are also written by
    it; of experts those that are asked."""
    experts, asked = header.number("expert_count"), header.number("expert_used_count")
    share = asked / experts if 0 < asked <= experts else 1.0
    tied = not any(each.name == "output.weight" for each in tensors)
    found = 0.0
    for each in tensors:
        looked_up = each.name.startswith(_LOOKED_UP) or (each.name == "token_embd.weight" and not tied)
        if len(each.shape) >= 2 and not looked_up:
            found += each.numbers * (share if "_exps." in each.name else 1.0)
    return int(found)


def _per_token(header: Header) -> int:
    """Bytes that a token of the context takes: a key and a value of 16-bit numbers in each layer."""
    heads = max(1, header.number("attention.head_count", 1))
    width = header.number("embedding_length") // heads
    return 2 * 2 * header.number("block_count") * header.number("attention.head_count_kv", heads) * width


class Listed(NamedTuple):
    """One tensor: ``datatype`` is ggml's name of its type, ``start`` and ``size`` are bytes of its file. ``size`` reaches to
    the next tensor, padding included."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    start: int
    size: int


def list_tensors(files: Files, path: str) -> list[Listed]:
    """The tensors of one file, in the order of its header. Raises RejectedContent."""
    stream = Stream(Window(files, path))
    header = _read(files, path, stream)
    alignment = header.values.get("general.alignment")
    step = alignment if isinstance(alignment, int) and 0 < alignment <= 1 << 20 else 32
    data = -(-stream.position // step) * step
    ends = sorted({each.offset for each in header.tensors} | {max(0, stream.window.size - data)})
    following = dict(pairwise(ends))
    return [
        Listed(
            each.name, each.kind, each.shape, data + each.offset,
            following.get(each.offset, each.offset) - each.offset,
        )
        for each in header.tensors
    ]  # fmt: skip


def read_header(files: Files, path: str) -> Header:
    """The header of one file. Raises RejectedContent for what is none, is cut short, or cannot be."""
    return _read(files, path, Stream(Window(files, path)))


def _read(files: Files, path: str, stream: Stream) -> Header:
    """The same; ``stream`` stands behind it then."""
    window = stream.window
    if window.size < 24 or stream.read(4) != b"GGUF":
        content.refuse_unless(
            content.identify(content.head_of(files, path), window.size) or "something else",
            "a GGUF model",
            path,
        )
    version = _number(stream, "<I")
    if version not in (2, 3):
        raise _corrupt(path, f"its version is {version}; 2 and 3 are known")
    tensors, keys = _number(stream, "<Q"), _number(stream, "<Q")
    if tensors > _MOST_TENSORS or keys > _MOST_KEYS:
        raise _corrupt(path, f"it would have {tensors} tensors and {keys} keys")
    values: dict[str, object] = {}
    for _ in range(keys):
        key = _text(stream, path)
        value = _value(stream, _number(stream, "<I"), path)
        if value is not None:
            values[key] = value
    return Header(values, tuple(_tensor(stream, path) for _ in range(tensors)), version)


def _number(stream: Stream, form: str) -> int:
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]


def _text(stream: Stream, path: str) -> str:
    length = _number(stream, "<Q")
    if length > _LONGEST:
        raise _corrupt(path, f"a text in its header would have {length} bytes")
    return stream.read(length).decode("utf-8", "replace")


def _value(stream: Stream, kind: int, path: str) -> object:
    """A number or a text; None for an array, which is passed over."""
    if kind == _STRING:
        return _text(stream, path)
    if kind == _ARRAY:
        _skip_array(stream, path)
        return None
    if kind not in _SCALARS:
        raise _corrupt(path, f"a value in its header is of the type {kind}")
    return _number(stream, _SCALARS[kind])


def _skip_array(stream: Stream, path: str) -> None:
    kind, count = _number(stream, "<I"), _number(stream, "<Q")
    if count > _MOST_ITEMS:
        raise _corrupt(path, f"a list in its header would have {count} items")
    if kind in _SCALARS:
        stream.skip(count * struct.calcsize(_SCALARS[kind]))
    elif kind == _STRING:
        _skip_texts(stream, count)
    else:
        raise _corrupt(path, f"a list in its header is of the type {kind}")


def _skip_texts(stream: Stream, count: int) -> None:
    """Pass over so many texts. A vocabulary has hundreds of thousands: each is one look into the window."""
    window, position = stream.window, stream.position
    for _ in range(count):
        index = position - window.start
        length = window.data[index : index + 8] if index >= 0 else b""
        if len(length) < 8:
            length = window.read(position, 8)
        position += 8 + int.from_bytes(length, "little")
        if position > window.size:
            raise window.truncated(position)
    stream.position = position


def _tensor(stream: Stream, path: str) -> _Tensor:
    """Name, axes, type and place of the next tensor."""
    length = _number(stream, "<Q")
    if length > _LONGEST_NAME:
        raise _corrupt(path, f"the name of a tensor would have {length} bytes")
    name = stream.read(length).decode("utf-8", "replace")
    axes = _number(stream, "<I")
    if axes > 8:
        raise _corrupt(path, f"a tensor would have {axes} axes")
    shape = tuple(_number(stream, "<Q") for _ in range(axes))
    kind = _number(stream, "<I")
    offset = _number(stream, "<Q")
    count = prod(shape)
    if count > 1 << 48:
        raise _corrupt(path, f"a tensor would have {count} numbers")
    return _Tensor(name, shape, _TYPES.get(kind, f"type {kind}"), count, offset)


def _corrupt(path: str, why: str) -> RejectedContent:
    return RejectedContent(f"{path} is not a GGUF file that can be read: {why}. Copy it again.", field=path)
