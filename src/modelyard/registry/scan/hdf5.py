"""HDF5, Keras's old form: a Lambda layer is Python's bytecode in the model's JSON.

The JSON lies in the file as it is (an attribute cannot be compressed), so it is looked for without reading HDF5.
"""

import re
from typing import Final

from modelyard.registry.scan.view import Report, View

NAME: Final = "an HDF5 file"
_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_PIECE: Final = 1024 * 1024
_OVERLAP: Final = 4096
_ESCAPE: Final = re.compile(rb"\\u00([0-9a-fA-F]{2})")
_LAMBDA: Final = re.compile(rb'"class_name"\s*:\s*"(Lambda|__lambda__|TFOpLambda)"')
_BYTECODE: Final = re.compile(rb'"(function_type|module)"\s*:\s*"lambda"|"class_name"\s*:\s*"__lambda__"')


def looks(view: View) -> bool:
    """At the beginning, or behind a user block of 512, 1024, 2048… bytes."""
    return any(view.source.read(at, 8) == _MAGIC for at in (0, 512, 1024, 2048, 4096, 8192))


def scan(view: View, report: Report) -> None:
    kept, offset = b"", 0
    while piece := view.source.read(offset, _PIECE):
        text = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), kept + piece)
        for pattern in (_LAMBDA, _BYTECODE):
            for found in pattern.finditer(text):
                if b"TFOpLambda" not in found[0]:
                    name = found[0].decode("ascii", "replace")
                    report.add("executes", f"a Keras layer that holds Python code: {name}", None, "Lambda")
        kept, offset = piece[-_OVERLAP:], offset + len(piece)
