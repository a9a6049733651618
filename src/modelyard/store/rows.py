"""All rows of a database, whatever they are: read, written into another one, and compared.

A table's digest is the sum of its rows' SHA-256 modulo 2^256, so that it does not depend on an order in
which two databases would differ; a row is the JSON array of its columns' values, in the order of ``tables``.
"""

import builtins
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Integer, Table, delete, func, insert, select, text

from modelyard.core.struct import Noun
from modelyard.store import possession, words
from modelyard.store.relist import rebuild
from modelyard.store.tables import counters, metadata

# What is made anew from the other tables by :func:`settle`, and what is true of one database alone.
DERIVED: Final = frozenset({"listings", "figures", "version_blobs", "whereabouts"})
# Those that are pointed at first.
TABLES: Final[tuple[Table, ...]] = tuple(
    table for table in metadata.sorted_tables if table.name not in DERIVED
)
# Where the bytes of blobs lie: true of one place alone, and made anew from what lies there.
OF_BYTES: Final = frozenset({"packs", "pieces", "blobs", "blob_pieces", "blob_checks"})
KNOWN: Final = tuple(table for table in TABLES if table.name not in OF_BYTES)
_AT_ONCE: Final = 500
Row = dict[str, Any]


class Content(Noun):
    """How many rows a table has, and their digest (hex)."""

    rows: int
    digest: str


class Sum:
    """The content of a table while it is being gathered."""

    def __init__(self) -> None:
        self._rows = 0
        self._sum = 0

    def add(self, line: bytes) -> None:
        """One row, as :func:`encode` gives it."""
        self._rows += 1
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(line).digest())) % 2**256

    @property
    def content(self) -> Content:
        """Of the rows that were added."""
        return Content(rows=self._rows, digest=f"{self._sum:064x}")


def encode(table: Table, row: Row) -> bytes:
    """One row as a line."""
    return msgspec.json.encode([row[column.name] for column in table.columns])


def decode(table: Table, line: bytes) -> Row:
    """A line as a row. Raises ValueError for what is none of this table."""
    values = msgspec.json.decode(line, type=builtins.list[Any])
    return dict(zip((column.name for column in table.columns), values, strict=True))


def read(session: Connection, table: Table) -> Iterator[Row]:
    """The rows of a table, in no order, a few at a time."""
    found = session.execute(select(table), execution_options={"yield_per": _AT_ONCE})
    for row in found.mappings():
        yield dict(row)


def write(session: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Add rows with the ids that they have."""
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _AT_ONCE:
            session.execute(insert(table), chunk)
            chunk = []
    if chunk:
        session.execute(insert(table), chunk)


def contents(
    session: Connection, change: Callable[[Table, Row], Row] = lambda table, row: row
) -> dict[str, Content]:
    """Of every table, as if ``change`` had been done to each row."""
    found: dict[str, Content] = {}
    for table in TABLES:
        total = Sum()
        for row in read(session, table):
            total.add(encode(table, change(table, row)))
        found[table.name] = total.content
    return found


def differences(one: Mapping[str, Content], other: Mapping[str, Content]) -> list[str]:
    """The tables that are not the same in both, and how."""
    return [
        f"{name}: {one[name].rows} rows and {other[name].rows}"
        if one[name].rows != other[name].rows
        else f"{name}: other rows"
        for name in one
        if one[name] != other[name]
    ]


def is_empty(session: Connection, tables: Iterable[Table] = TABLES) -> bool:
    """Whether nothing was ever written into ``tables`` but what the migrations write."""
    for table in tables:
        if table is counters:
            used = select(func.count()).select_from(table).where(table.c.value != 0)
        else:
            used = select(func.count()).select_from(table)
        if session.execute(used).scalar_one():
            return False
    return True


def clear_counters(session: Connection) -> None:
    """Make room for those that are written."""
    session.execute(delete(counters))


def settle(session: Connection) -> None:
    """After rows came with their ids: what is made from them is made, the next id is after the last one (SQLite does
    that by itself), and PostgreSQL knows what there is: by itself it looks a minute later, and until then it would
    read whole tables for a page."""
    rebuild(session)
    possession.rebuild(session)
    attune(session)


def attune(session: Connection) -> None:
    """The part of :func:`settle` that makes no rows."""
    if session.dialect.name != "postgresql":
        return
    for table in TABLES:
        key = table.primary_key.columns.values()
        if len(key) == 1 and isinstance(key[0].type, Integer) and key[0].autoincrement:
            sequence = f"pg_get_serial_sequence('{table.name}', '{key[0].name}')"
            last = f'SELECT max("{key[0].name}") FROM "{table.name}"'
            session.execute(text(f"SELECT setval({sequence}, coalesce(({last}), 0) + 1, false)"))
    for name in (*metadata.tables, words.TABLE):
        session.execute(text(f'ANALYZE "{name}"'))
