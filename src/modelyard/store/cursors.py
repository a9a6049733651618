"""Cursors: where the next page of a search begins, as text that clients give back."""

import base64
import binascii
import hashlib

import msgspec

from modelyard.core.errors import InvalidInput
from modelyard.core.listing import Wanted
from modelyard.store.nouns import pack


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    search: str
    key: int | float | str
    id: int


def _search_of(wanted: Wanted) -> str:
    return hashlib.sha256(pack(wanted).encode()).hexdigest()[:12]


def write_cursor(wanted: Wanted, key: float | str, id: int) -> str:
    """The place behind the listing ``id``, which has ``key`` in what is sorted by."""
    packed = msgspec.json.encode(_Cursor(_search_of(wanted), key, id))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(cursor: str, wanted: Wanted) -> tuple[float | str, int]:
    """Key and id. Raises InvalidInput for what is no cursor, or that of another search."""
    try:
        packed = base64.b64decode(
            cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        )
        read = msgspec.json.decode(packed, type=_Cursor)
    except (binascii.Error, msgspec.MsgspecError, UnicodeError, ValueError) as error:
        raise InvalidInput(
            "This is no cursor; take it from `next` of the page before.", field="cursor"
        ) from error
    textual = wanted.sort == "name"
    if read.search != _search_of(wanted) or isinstance(read.key, str) != textual:
        raise InvalidInput(
            "This cursor is of another search; search for the same in the same order, or begin without it.",
            field="cursor",
        )
    return read.key, read.id
