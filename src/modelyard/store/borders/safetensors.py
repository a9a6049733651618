"""Where the tensors of a safetensors file lie.

Source: https://github.com/huggingface/safetensors (a u64 length, that many bytes of JSON, the data).
"""

import msgspec

from modelyard.store.borders.source import MOST, Source, Unreadable


class _Tensor(msgspec.Struct):
    data_offsets: tuple[int, int]


def fits(head: bytes, size: int) -> bool:
    """Whether the first bytes are those of such a file."""
    return (
        len(head) >= 9 and int.from_bytes(head[:8], "little") <= min(MOST, size - 8) and head[8:9] == b"{"
    )


def spans(source: Source) -> list[tuple[int, int]]:
    """Offset and length of each tensor. Raises Unreadable."""
    length = source.number(0, 8)
    try:
        header = msgspec.json.decode(source.read(8, length), type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        places = [msgspec.json.decode(raw, type=_Tensor).data_offsets for raw in header.values()]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    return [(8 + length + begin, end - begin) for begin, end in places]
