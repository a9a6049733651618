"""NumPy's .npy files: one of objects is a pickle behind a header.

The form is https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

import ast
from typing import Final

from modelyard.registry.scan import pickles
from modelyard.registry.scan.source import Part
from modelyard.registry.scan.view import Report, View

NAME: Final = "a NumPy array"
_MAGIC: Final = b"\x93NUMPY"
_LONGEST: Final = 64 * 1024  # bytes of a header


def looks(view: View) -> bool:
    return view.head.startswith(_MAGIC)


def scan(view: View, report: Report) -> None:
    head = view.head
    if len(head) < 12 or head[6] not in (1, 2, 3):
        raise ValueError("its version is not known")
    width = 2 if head[6] == 1 else 4
    length = int.from_bytes(head[8 : 8 + width], "little")
    begin = 8 + width
    if length > _LONGEST:
        raise ValueError(f"its header would have {length} bytes")
    text = view.source.read(begin, length)
    told: object = ast.literal_eval(text.decode("latin-1" if head[6] < 3 else "utf-8").strip())
    if not isinstance(told, dict) or not isinstance(shape := told.get("shape"), tuple):
        raise TypeError("its header is not valid")
    rest = Part(view.source, begin + length, view.source.size - begin - length)
    count = 1
    for axis in shape:
        count *= axis if isinstance(axis, int) and axis >= 0 else 0
    if _holds_objects(told.get("descr")):
        inner = view.inside(rest, "objects.pkl")
        report.pickles += 1
        pickles.scan(inner, Report(report.shared, inner.where, inner.depth))
    elif count > rest.size * 8 + 8:
        report.add(
            "unreadable", f"an array that claims {count:,} numbers, in a file of {view.source.size:,} bytes"
        )


def _holds_objects(descr: object) -> bool:
    """Whether a type has objects in it: ``|O``, or a field of a record that has."""
    if isinstance(descr, str):
        return "O" in descr
    if isinstance(descr, tuple | list):
        return any(_holds_objects(each) for each in descr[1:] if not isinstance(each, int)) or (
            bool(descr) and isinstance(descr[0], tuple | list) and _holds_objects(descr[0])
        )
    return False
