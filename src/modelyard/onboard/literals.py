"""What the values in an example tell of an input: its type, its JSON, whether it is data or a setting."""

import math
import re
from typing import Any

from modelyard.onboard.leaves import Leaf
from modelyard.onboard.usage import MISSING

_ARRAY_LIMIT = 10_000  # numbers of an example that are written down
_PLACEHOLDER = re.compile(r"<\w+(?:[ _-]\w+)+>|YOUR[A-Z_]*|/?path[_/ -]to[_/ -][\w /-]*")
_PATH_OF_FILE = re.compile(
    r"/?path[_/ -]to[_/ -]([\w /-]*[_/ -])?(file|image|picture|photo|audio|recording|video)"
)
_OPTION = re.compile(r"[A-Za-z0-9_.-]{1,16}")


def annotation_of(value: Any) -> str:
    if isinstance(value, bool | str | int | float | bytes):
        return type(value).__name__
    if isinstance(value, list | tuple) and value:
        inner = {annotation_of(each) for each in value}
        if inner == {"int", "float"}:
            return "list[float]"
        if len(inner) == 1 and (only := inner.pop()) and only not in ("dict", "list", "bytes", "object"):
            return f"list[{only}]"
        return "list"
    return (
        "dict" if isinstance(value, dict) else "list" if isinstance(value, list | tuple | set) else "object"
    )


def as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple | set):
        return [as_json(each) for each in value]
    if isinstance(value, dict):
        return {str(key): as_json(each) for key, each in value.items()}
    return value


def is_setting(value: Any, leaf: Leaf) -> bool:
    """Whether a value that is not the first is likely an option rather than data: a number, a switch, a name."""
    if isinstance(value, bool):
        return True
    if isinstance(leaf.argument, str) and not isinstance(value, list | dict):
        return not isinstance(value, str) or _OPTION.fullmatch(value) is not None
    return isinstance(value, int | float) or (
        isinstance(value, str) and leaf.name is None and _OPTION.fullmatch(value) is not None
    )


def is_placeholder(value: Any) -> bool:
    """Whether it stands for a value that the reader is to put there: ``<array of an image>``, ``YOUR_SEQUENCE``,
    ``path_to_a_file``, ``[75.2, 85.1, ...]``; or is one that JSON has no form for."""
    if isinstance(value, str):
        return _PLACEHOLDER.fullmatch(value) is not None
    return _is_elided(value)


def _is_elided(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_elided, value.values()))
    if isinstance(value, list | tuple | set):
        return any(map(_is_elided, value))
    return value is ... or isinstance(value, complex)


def is_path_of_file(value: Any) -> bool:
    """Whether it stands for the path of a file of no kind that is told."""
    return isinstance(value, str) and _PATH_OF_FILE.fullmatch(value) is not None


def guessed(name: str) -> str:
    """The type of what is only named."""
    if re.search(r"texts|sentences|sequences|documents|docs$|queries|words", name):
        return "list[str]"
    if re.search(r"text|sentence|sequence|seq$|smiles|string|word|query|document|prompt|name", name):
        return "str"
    return "object"


def numbers(shape: tuple[int, ...]) -> Any:
    """An example of a shape, when it is not too long to write down."""
    if math.prod(shape) > _ARRAY_LIMIT:
        return MISSING

    def fill(sizes: tuple[int, ...], start: int) -> Any:
        if not sizes:
            return round((start % 7) / 7, 3)
        inner = math.prod(sizes[1:])
        return [fill(sizes[1:], start + index * inner) for index in range(sizes[0])]

    return fill(shape, 1)
