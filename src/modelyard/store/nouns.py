"""Nouns as the JSON text of a column, and back."""

import secrets
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")


def pack(value: object) -> str:
    """``value`` (a noun, or what JSON knows) as JSON text."""
    return msgspec.json.encode(value).decode()


def unpack(text: str, kind: type[_T]) -> _T:
    """The noun of ``kind`` in a column."""
    return msgspec.json.decode(text, type=kind)


def unpack_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object in a column that may be empty."""
    return None if text is None else msgspec.json.decode(text, type=dict[str, Any])


def without_nul(text: str) -> str:
    """``text`` as a column can hold it: PostgreSQL has no NUL in texts (JSON escapes it by itself)."""
    return text.replace("\0", "\\0")


def new_id() -> str:
    """An id nobody can guess: 24 hexadecimal digits."""
    return secrets.token_hex(12)
