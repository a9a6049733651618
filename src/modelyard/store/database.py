"""The database: SQLite in the home, or PostgreSQL for a team; migrated by whoever comes first."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from modelyard.core.errors import Conflict
from modelyard.core.settings import Home, Settings
from modelyard.store import new_file
from modelyard.store.backend import Backend, DatabaseAway, told
from modelyard.store.sqlite import Sqlite

__all__ = ["REVISION", "Database", "DatabaseAway", "open_database", "script_of_migrations"]

# The newest file under migrations/versions. Compared with the database at start, so that Alembic
# (and its memory) is only needed when there is something to migrate. A new file needs none of it (new_file.py).
REVISION: Final = "0013"


class Database:
    """The rows of one home, or of a team.

    Every method may be called from any thread; a connection that a context manager gave is for the
    thread that took it. Failures of the disk, of a lock or of a server are raised as Unavailable.
    """

    def __init__(self, place: Path | str) -> None:
        """``place`` is SQLite's file, or a ``postgresql://`` URL. Opens nothing yet; :meth:`migrate` does."""
        self._backend = _backend(place)
        self._engine = self._backend.engine()
        self._reading: Engine = self._engine.execution_options(**self._backend.reading)
        self._writing: Engine = self._engine.execution_options(**self._backend.writing)
        self._closed = False
        event.listen(self._engine, "checkin", self._returned)

    @property
    def shown(self) -> str:
        """Which one it is, for people; never a password."""
        return self._backend.shown

    @property
    def is_shared(self) -> bool:
        """Whether other homes may use it, too."""
        return not isinstance(self._backend, Sqlite)

    @contextmanager
    def session(self) -> Generator[Connection, None, None]:
        """A transaction that only reads: one consistent picture, which no writer disturbs."""
        with told(self._backend), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def begin(self, *subjects: str) -> Generator[Connection, None, None]:
        """A transaction that writes; kept whole or not at all.

        It is the only one at its time, so that what it has read stays true until it ends. With
        ``subjects`` it is the only one that writes about any of them, and others may write meanwhile
        about others (where there is a server; a file has one writer): name all that it looks at and
        relies on.
        """
        with told(self._backend), self._backend.turn(), self._writing.begin() as connection:
            self._backend.lock(connection, subjects)
            yield connection

    def time(self) -> float:
        """Seconds since the epoch, by the clock that all who share this database go by."""
        with told(self._backend):
            return self._backend.time(self._engine)

    def migrate(self) -> None:
        """Bring it to :data:`REVISION`, making its tables when there are none.

        Several processes may call this at once: one works, the others wait. A migration that is
        killed leaves the former revision. Raises Conflict for one that a newer Modelyard wrote.
        """
        if self._exists() and self.revision() == REVISION:
            return
        with told(self._backend), self._backend.migrating():
            if self.revision() != REVISION:
                self._upgrade()

    def close(self) -> None:
        """Close the connections that are not in use, and each other one when its transaction ends."""
        self._closed = True
        self._engine.dispose()

    def _returned(self, _: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        if self._closed and entry.dbapi_connection is not None:
            entry.invalidate()

    def revision(self) -> str | None:
        """Of its tables; None when it has none of ours."""
        with self.session() as connection:
            return _revision(connection)

    def _exists(self) -> bool:
        return not isinstance(self._backend, Sqlite) or self._backend.path.is_file()

    def _upgrade(self) -> None:
        self._backend.before_upgrade(self._engine)
        with self._writing.begin() as connection:
            self._backend.lock_upgrade(connection)
            found = _revision(connection)
            if found != REVISION and not (found is None and self._backend.make_new(connection)):
                _run_migrations(connection, found, self.shown)


def open_database(settings: Settings) -> Database:
    """The one that a home is set to: its own file unless a server is named. Not migrated."""
    return Database(settings.database or Home(settings.home).database)


def script_of_migrations() -> str:
    """What ``new_file.sql`` has to be: a file that all migrations made, as the statements that make it at once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "modelyard.db"
        database = Database(path)
        with database.begin() as connection:
            _run_migrations(connection, None, database.shown)
        database.close()
        return new_file.script(path)


def _backend(place: Path | str) -> Backend:
    if isinstance(place, Path):
        return Sqlite(place)
    from modelyard.store.postgres import Postgres

    return Postgres(place)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _run_migrations(connection: Connection, found: str | None, shown: str) -> None:
    """From revision ``found`` (None: from nothing) to the newest, in the transaction of ``connection``."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "modelyard.store:migrations")
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise Conflict(
            f"The database {shown} was written by a newer Modelyard (revision {found}); install that "
            "one again, or choose another home."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
