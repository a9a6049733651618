"""Answers in pieces, put together for a call that wants them whole."""

from collections.abc import Iterator as _Iterator
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from ..adapter import ItemError


def pieces_of(result: Any) -> "Optional[Iterator[Any]]":
    """``result`` when it is an iterator (a generator, a map): what a model answers in pieces."""
    return result if isinstance(result, _Iterator) else None


def joined(pieces: Sequence[Dict[str, Any]], declared: Mapping[str, Dict[str, Any]]) -> Dict[str, Any]:
    """The whole of each output: text joined, of kind json or without a declaration a list, of a shape that
    begins with -1 the pieces as rows, else the last piece.

    Raises ItemError when there is no piece: nothing says what the whole would be.
    """
    if not pieces:
        raise ItemError("The model answered no piece at all.")
    columns: Dict[str, List[Any]] = {}
    for piece in pieces:
        for name, value in piece.items():
            columns.setdefault(name, []).append(value)
    return {name: _whole(values, declared.get(name)) for name, values in columns.items()}


def _whole(values: List[Any], spec: Optional[Dict[str, Any]]) -> Any:
    if all(isinstance(value, str) for value in values):
        json = spec is not None and spec.get("kind") == "json"
        return values if json else "".join(values)
    if spec is None or spec.get("kind") == "json" or list(spec.get("shape") or ())[:1] == [-1]:
        return values
    return values[-1]
