"""Moves a home's rows from its own database to one that a team shares, and back: whole or not at all.

What is done in which order makes every kill harmless: the rows are copied and compared in one transaction of
the target, then ``modelyard.toml`` names the target, then the former file is set aside. Done again after a kill
in between, it finds its own rows in the target and goes on.
"""

import contextlib
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Table

from modelyard.core.errors import Conflict, Internal, InvalidInput
from modelyard.core.settings import Home, Settings
from modelyard.core.struct import Noun
from modelyard.host.files import write_whole
from modelyard.host.home import prepare, read_key
from modelyard.host.lock import ProgramLock
from modelyard.store import rows
from modelyard.store.database import Database, open_database
from modelyard.store.tables import homes
from modelyard.store.whereabouts import folder_of, note

EMBEDDED: Final = "embedded"
OF_HOMES: Final = ("endpoints", "remotes", "jobs")
Tell = Callable[[str], None]


class Moved(Noun):
    """What was moved: how many rows of each table, from where, to where. ``kept`` is where the former rows still
    are; ``notes`` say what is left to do by hand."""

    source: str
    target: str
    rows: dict[str, int]
    kept: str
    notes: tuple[str, ...] = ()


def move(settings: Settings, to: str, tell: Tell) -> Moved:
    """Move all rows of the home to ``to`` (a URL of PostgreSQL, or :data:`EMBEDDED`).

    Raises Conflict while the control plane runs, for a target that has rows already, and for endpoints of
    other homes on the way back; InvalidInput when they are there already; Unavailable.
    """
    home = Home(settings.home)
    back = to == EMBEDDED
    with contextlib.ExitStack() as stack:
        source = open_database(settings)
        stack.callback(source.close)
        if source.is_shared is not back:
            told = f"in {source.shown}" if source.is_shared else f"in the home ({source.shown})"
            raise InvalidInput(f"The rows are {told} already; there is nothing to move.", field="to")
        if back and home.database.exists():
            raise Conflict(f"There is a {home.database} already; set it aside first.")
        new = _new(home)
        target = Database(new if back else to)
        stack.callback(target.close)
        prepare(home)
        lock = ProgramLock(home.run, "control")
        lock.acquire()
        stack.callback(lock.release)
        _remove(new)
        stack.callback(_remove, new)
        place = settings.blobs.rstrip("/") if settings.blobs is not None else folder_of(home.blobs)
        return _move(home, source, target, None if back else to, place, tell)


def _move(home: Home, source: Database, target: Database, url: str | None, place: str, tell: Tell) -> Moved:
    id = read_key(home.id)
    tell("preparing the tables")
    source.migrate()
    target.migrate()
    counts = _copy(source, target, id, back=url is None, tell=tell)
    if url is not None:
        with target.begin(
            "whereabouts"
        ) as new:  # before anybody else says where the bytes of these rows are
            note(new, place)
    kept, shown, notes = source.shown, target.shown, list[str]()
    if url is None:
        target.close()  # the last connection: all is in the one file then
        _new(home).rename(home.database)
        shown = str(home.database)
    tell("writing modelyard.toml")
    set_setting(home.config, "database", url)
    if url is not None:
        source.close()
        kept = str(_set_aside(home.database))
    if (named := os.environ.get("MODELYARD_DATABASE")) and named != url:
        notes.append("MODELYARD_DATABASE is set and still names the former one: change it where it is set.")
    return Moved(source=source.shown, target=shown, rows=counts, kept=kept, notes=tuple(notes))


def _copy(source: Database, target: Database, id: str, *, back: bool, tell: Tell) -> dict[str, int]:
    def change(table: Table, row: rows.Row) -> rows.Row:
        """What is the home's own is marked as such in a shared database."""
        return row | {"home": None if back else id} if table.name in OF_HOMES else row

    skipped = {homes.name}
    with source.session() as old, target.begin() as new:
        if back:
            _refuse_others(old, id)
        tell("reading")
        wanted = rows.contents(old, change)
        if not rows.is_empty(new):
            # Its own, of a move that was killed before it was said?
            if _without(rows.contents(new), skipped) == _without(wanted, skipped):
                return {name: content.rows for name, content in _without(wanted, skipped).items()}
            raise Conflict(
                f"The database {target.shown} has rows already; name an empty one. A home whose rows are not needed "
                "joins it by `database`, and the `blobs` of the others, in its modelyard.toml.",
                field="to",
            )
        rows.clear_counters(new)
        for table in rows.TABLES:
            if table.name not in skipped:
                tell(f"moving {table.name} ({wanted[table.name].rows})")
                rows.write(new, table, (change(table, row) for row in rows.read(old, table)))
        rows.settle(new)
        tell("comparing")
        wrong = rows.differences(_without(wanted, skipped), _without(rows.contents(new), skipped))
        if wrong:  # nothing of it is kept
            raise Internal(f"The rows that arrived are not those that were sent: {'; '.join(wrong)}.")
    return {name: content.rows for name, content in _without(wanted, skipped).items()}


def _without(contents: dict[str, rows.Content], names: set[str]) -> dict[str, rows.Content]:
    return {name: content for name, content in contents.items() if name not in names}


def _refuse_others(session: rows.Connection, id: str) -> None:
    """A home cannot serve what is on another one's machine."""
    others = sorted(
        str(row.get("name") or row.get("endpoint"))
        for table in rows.TABLES
        if table.name in ("endpoints", "remotes")
        for row in rows.read(session, table)
        if row["home"] not in (None, id)
    )
    if others:
        raise Conflict(
            f"{', '.join(others[:5])}{' and more' if len(others) > 5 else ''}: served by other homes of this database. "
            "Delete them, or deploy them here, before it becomes this home's own."
        )


def _new(home: Home) -> Path:
    """Where the home's database is written before it is whole."""
    return home.root / f".{home.database.name}.new"


def _remove(path: Path) -> None:
    """What a move that did not end has left, and what belongs to it."""
    for leftover in path.parent.glob(f"{path.name}*"):
        leftover.unlink()


def _set_aside(path: Path) -> Path:
    """The file and what belongs to it, under a name that no start looks for."""
    number = 1
    while (aside := path.with_name(f"{path.name}.moved-{number}")).exists():
        number += 1
    for ending in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def set_setting(config: Path, name: str, value: str | None) -> None:
    """Let ``name`` of a modelyard.toml be ``value`` (None: not there); the rest stays as it is written."""
    text = config.read_text() if config.is_file() else ""
    wanted = tomllib.loads(text)
    wanted.pop(name, None)
    lines = [line for line in text.splitlines() if not re.match(rf"\s*[\"']?{name}[\"']?\s*=", line)]
    if value is not None:
        wanted[name] = value
        lines.insert(0, f"{name} = {msgspec.json.encode(value).decode()}")
    text = "".join(f"{line}\n" for line in lines)
    if tomllib.loads(text) != wanted:
        raise Conflict(
            f"{config} is written in a way that cannot be changed here; set `{name}` in it by hand."
        )
    if text or config.is_file():
        write_whole(config, text.encode(), durable=True)
