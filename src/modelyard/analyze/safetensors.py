"""The header of a safetensors file: names, types and places of the tensors; their data is not read.

The format is that of https://github.com/huggingface/safetensors: a u64 length (little-endian), that many
bytes of JSON, then the data. The tensors cover the data without gaps.
"""

import re
from dataclasses import dataclass, field

import msgspec

from modelyard.analyze import detect as content
from modelyard.analyze.window import Window
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

MAX_HEADER = 32 * 1024 * 1024
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I8": "int8",
    "U8": "uint8",
}

# As the library transformers names its tables of tokens, and those of positions and kinds of tokens.
_WORDS = re.compile(r"(word_embeddings|embed_tokens|wte|tok_embeddings|shared|embed_in)\.weight$")
_PLACES = re.compile(r"(position_embeddings|token_type_embeddings|wpe|embed_positions)\.weight$")


class Tensor(msgspec.Struct):
    """One entry of the header; ``data_offsets`` count from the begin of the data."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


@dataclass
class Weights:
    """Totals over one or several files. ``bytes_by_type``: bytes of each safetensors dtype. ``words`` and ``places``:
    numbers of the tables that tokens and positions are looked up in, which nothing is multiplied with."""

    parameters: int = 0
    words: int = 0
    places: int = 0
    numbers_by_type: dict[str, int] = field(default_factory=dict)
    size: int = 0
    bytes_by_type: dict[str, int] = field(default_factory=dict)
    tensors: set[str] = field(default_factory=set)

    @property
    def precision(self) -> str:
        """The element type of most bytes, such as ``float32``."""
        if not self.bytes_by_type:
            return "no weights"
        most = max(self.bytes_by_type, key=lambda name: self.bytes_by_type[name])
        return _NAMES.get(most, most)


def read_weights(files: Files, path: str, into: Weights | None = None) -> Weights:
    """Check one file and add it to ``into``. Raises RejectedContent for what is corrupt or truncated."""
    weights = into if into is not None else Weights()
    _, tensors = read_tensors(files, path)
    for name, tensor in tensors.items():
        weights.tensors.add(name)
        count = _count(tensor.shape)
        weights.parameters += count
        kind = _NAMES.get(tensor.dtype, tensor.dtype)
        weights.numbers_by_type[kind] = weights.numbers_by_type.get(kind, 0) + count
        if len(tensor.shape) == 2 and _WORDS.search(name):
            weights.words += count
        elif len(tensor.shape) == 2 and _PLACES.search(name):
            weights.places += count
        begin, end = tensor.data_offsets
        weights.bytes_by_type[tensor.dtype] = weights.bytes_by_type.get(tensor.dtype, 0) + end - begin
    weights.size += files.size(path)
    return weights


def read_tensors(files: Files, path: str) -> tuple[int, dict[str, Tensor]]:
    """The byte at which the data begins, and the tensors by name, checked. Raises RejectedContent."""
    window = Window(files, path)
    if window.size < 8:
        raise _corrupt(path, f"it has only {window.size} bytes")
    length = int.from_bytes(window.read(0, 8), "little")
    if length > MAX_HEADER or length + 8 > window.size:
        what = content.identify(content.head_of(files, path), window.size)
        if what not in (None, "a safetensors file"):
            content.refuse_unless(what, "a safetensors file", path)
        if length <= MAX_HEADER and window.read(8, min(1, window.size - 8)) in (b"{", b""):
            raise window.truncated(length + 8)
        raise _corrupt(path, f"its header would have {length} bytes")
    try:
        header = msgspec.json.decode(window.read(8, length), type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(raw, type=Tensor) for name, raw in header.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _corrupt(path, f"its header is not valid ({error})") from error
    _check_cover(path, tensors, window.size - 8 - length, window.size)
    return 8 + length, tensors


def read_sharded(files: Files, index: str) -> Weights:
    """All files that ``model.safetensors.index.json`` names. Raises RejectedContent when one is missing."""
    try:
        listed = msgspec.json.decode(files.read(index, 0, MAX_HEADER), type=dict[str, msgspec.Raw])
        places = msgspec.json.decode(listed["weight_map"], type=dict[str, str])
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise _corrupt(index, f"its weight_map is not valid ({error})") from error
    folder = index.rpartition("/")[0]
    weights = Weights()
    for name in sorted(set(places.values())):
        path = f"{folder}/{name}" if folder else name
        if path not in files.paths:
            raise RejectedContent(
                f"{index} names the file {name[:200]!r}, which is missing. Deploy the whole folder.",
                field=path,
            )
        read_weights(files, path, weights)
    lost = sorted(set(places) - weights.tensors)
    if lost:
        raise RejectedContent(
            f"{index} promises the tensor {lost[0][:200]!r}, which is in none of its files. Download them again.",
            field=index,
        )
    return weights


def _check_cover(path: str, tensors: dict[str, Tensor], room: int, size: int) -> None:
    """Every tensor is as long as its shape says, and together they are the data, without gaps."""
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        begin, end = tensor.data_offsets
        bits = _BITS.get(tensor.dtype)
        if bits is None:
            raise _corrupt(path, f"the tensor {name[:100]!r} has the unknown type {tensor.dtype[:40]!r}")
        if any(length < 0 for length in tensor.shape) or end > 1 << 62:
            raise _corrupt(path, f"the tensor {name[:100]!r} has an impossible size")
        if begin != position or (_count(tensor.shape) * bits + 7) // 8 != end - begin:
            raise _corrupt(
                path, f"the place of the tensor {name[:100]!r} does not fit its shape and neighbours"
            )
        position = end
    if position > room:
        raise RejectedContent(
            f"{path} is truncated: its header describes {size - room + position} bytes, and the file has "
            f"{size}. Download or copy it again.",
            field=path,
        )
    if position < room:
        raise _corrupt(path, f"{room - position} bytes at its end belong to no tensor")


def _count(shape: list[int]) -> int:
    count = 1
    for length in shape:
        count *= length
        if count > 1 << 62:
            return 1 << 62
    return count


def _corrupt(path: str, why: str) -> RejectedContent:
    return RejectedContent(
        f"{path} is not a safetensors file, or it is corrupt: {why}. Save or download it again.", field=path
    )
