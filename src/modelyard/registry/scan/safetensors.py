"""safetensors: nothing in it executes; a header that lies about its tensors is named."""

import json
from typing import Final

from modelyard.registry.scan.view import Report, View

NAME: Final = "a safetensors file"
_LONGEST: Final = 32 * 1024 * 1024  # bytes of a header that are read


def looks(view: View) -> bool:
    head = view.head
    if view.name.lower().endswith(".safetensors"):
        return True
    return (
        len(head) > 9
        and head[8:9] == b"{"
        and 2 <= int.from_bytes(head[:8], "little") <= view.source.size - 8
    )


def scan(view: View, report: Report) -> None:
    length = int.from_bytes(view.head[:8], "little")
    if length > min(_LONGEST, view.source.size - 8):
        raise ValueError(f"its header would have {length} bytes")
    header = json.loads(view.source.read(8, length))
    if not isinstance(header, dict):
        raise TypeError("its header is no object")
    room = view.source.size - 8 - length
    reached, former = 0, ""
    places: list[tuple[int, int, str]] = []
    for name, told in header.items():
        if name == "__metadata__":
            continue
        begin, end = told["data_offsets"]
        places.append((int(begin), int(end), name))
    for begin, end, name in sorted(places):
        if begin < 0 or end < begin or end > room:
            raise ValueError(f"the tensor {name[:100]!r} lies outside of the file")
        if begin < reached:
            raise ValueError(f"the tensors {former[:100]!r} and {name[:100]!r} overlap")
        reached, former = end, name
