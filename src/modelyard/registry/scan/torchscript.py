"""The code in a TorchScript archive: operators on files, and operators that PyTorch alone does not have."""

import re
from typing import Final

from modelyard.registry.scan.view import Report, View

NAME: Final = "TorchScript's code"
_LARGEST: Final = 64 * 1024 * 1024
_HARMFUL: Final = re.compile(rb"\b(save|from_file|_save_to|_load_from)\b")
_FOREIGN: Final = re.compile(rb"\b(?:ops|torch\s*\.\s*classes)\s*\.\s*(\w+)")
_OWN: Final = frozenset(
    {b"prim", b"aten", b"quantized", b"prepacked", b"mkldnn", b"mkldnn_prepacked", b"xnnpack"}
)


def looks(view: View) -> bool:
    return view.name.endswith(".py") and "/code/" in f"/{view.where}" and view.depth > 0


def scan(view: View, report: Report) -> None:
    if view.source.size > _LARGEST:
        raise ValueError("it is too long to be read")
    text = view.source.read(0, _LARGEST)
    if b"__torch__" not in text and b"Module" not in text and b"torch" not in text:
        return
    for found in _HARMFUL.finditer(text):
        name = found[1].decode()
        report.add(
            "executes", f"TorchScript that names {name!r}, an operator on files", found.start(), name
        )
    for found in _FOREIGN.finditer(text):
        if found[1] not in _OWN:
            name = found[1].decode("ascii", "replace")[:100]
            report.add("executes", f"TorchScript with operators of {name!r}, which PyTorch alone does not have", found.start(), name)  # fmt: skip
