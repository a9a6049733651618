"""The tables of a new SQLite file, made at once: ``new_file.sql`` is what all migrations come to, one after another
(``make schema`` writes it). Alembic and its half second are left to files that have a former revision.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection

_SCRIPT = Path(__file__).with_suffix(".sql")


def fill(connection: Connection) -> None:
    """Make the tables of the newest revision, in the transaction of ``connection``."""
    for statement in _statements(_SCRIPT.read_text()):
        connection.exec_driver_sql(statement)


def script(path: Path) -> str:
    """The script that makes such a file as the one at ``path``, which was migrated and holds nothing else yet."""
    connection = sqlite3.connect(path)
    try:
        # What SQLite makes itself: the tables that a virtual one consists of, and those of its own.
        own = [name for _, name, kind, *_ in connection.execute("PRAGMA table_list") if kind == "shadow"]
        made = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
        )
        lines: list[str] = []
        tables: list[str] = []
        for kind, name, sql in made:
            if name in own or name.startswith("sqlite_"):
                continue
            lines.append(f"{sql};")
            if kind == "table" and not sql.upper().startswith("CREATE VIRTUAL"):
                tables.append(name)
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                values = ", ".join(
                    connection.execute("SELECT quote(?)", (each,)).fetchone()[0] for each in row
                )
                lines.append(f'INSERT INTO "{table}" VALUES ({values});')
    finally:
        connection.close()
    return "".join(f"{line.rstrip()}\n" for statement in lines for line in statement.splitlines())


def _statements(text: str) -> Iterator[str]:
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):  # it knows triggers, which have semicolons within
            yield statement
            statement = ""
