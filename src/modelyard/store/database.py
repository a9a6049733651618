"""The database: one SQLite file, opened by several processes, migrated by whoever comes first."""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from modelyard.core.errors import Conflict, ModelyardError, Unavailable

# The newest file under migrations/versions. Compared with the database at start, so that Alembic
# (and its memory) is only needed when there is something to migrate.
REVISION: Final = "0004"

_PATIENCE = 15.0  # seconds that a writer waits for another one
_WRITES = "modelyard_writes"


class Database:
    """The rows of one home.

    Every method may be called from any thread; a connection that a context manager gave is for the
    thread that took it. Failures of the disk or of a lock are raised as Unavailable.
    """

    def __init__(self, path: Path) -> None:
        """Opens nothing yet; :meth:`migrate` makes the file."""
        self.path = path
        self._engine = create_engine(
            URL.create("sqlite+pysqlite", database=str(path)),
            connect_args={"timeout": _PATIENCE, "check_same_thread": False},
            pool_size=4,
            max_overflow=60,
            pool_timeout=_PATIENCE,
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._writing: Engine = self._engine.execution_options(**{_WRITES: True})

    @contextmanager
    def session(self) -> Generator[Connection, None, None]:
        """A transaction that only reads: one consistent picture, which no writer disturbs."""
        with _told(self.path), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def begin(self) -> Generator[Connection, None, None]:
        """A transaction that writes, the only one at its time; kept whole or not at all.

        It takes the write lock at its start, so that what it has read stays true until it ends.
        """
        with _told(self.path), self._writing.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the file to :data:`REVISION`, making it when there is none.

        Several processes may call this at once: one works, the others wait. A migration that is
        killed leaves the former revision. Raises Conflict for a file that a newer Modelyard wrote.
        """
        if self.path.is_file() and self._revision() == REVISION:
            return
        with self._lock():
            found = self._revision()
            if found != REVISION:
                self._upgrade(found)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()

    def _revision(self) -> str | None:
        with self.session() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()

    def _upgrade(self, found: str | None) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", "modelyard.store:migrations")
        config.set_main_option("path_separator", "os")
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise Conflict(
                f"{self.path} was written by a newer Modelyard (revision {found}); install that one again, "
                "or choose another home."
            )
        # Kept in the file; switching needs the file alone, so it is done under the lock.
        with _told(self.path), self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute("PRAGMA journal_mode = WAL").close()
        with self.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def _lock(self) -> Generator[None, None, None]:
        path = self.path.with_name(f"{self.path.name}.migrate.lock")
        with _told(self.path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    # Python would begin transactions by itself, too late and never IMMEDIATE.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON").close()
    connection.execute("PRAGMA synchronous = FULL").close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _told(path: Path) -> Generator[None, None, None]:
    """What the disk or a lock did wrong, as one of our errors; a fault in a statement stays as it is."""
    try:
        yield
    except DBAPIError as error:
        told = _translate(error.orig, path)
        if told is None:
            raise
        raise told from error
    except sqlite3.Error as error:
        told = _translate(error, path)
        if told is None:
            raise
        raise told from error
    except PoolTimeoutError as error:
        raise Unavailable("Too many calls use the database at once; try again.", retry_after=1.0) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES):
            raise
        raise _disk(path, os.strerror(error.errno)) from error


def _translate(error: BaseException | None, path: Path) -> ModelyardError | None:
    if not isinstance(error, sqlite3.Error):
        return None
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Unavailable("The database is busy with another writer; try again.", retry_after=1.0)
        case sqlite3.SQLITE_FULL:
            return _disk(path, str(error))
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY:
            return _disk(path, str(error))
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Unavailable(
                f"The database {path} is damaged ({error}); put a backup in its place.",
            )
        case _:
            return None


def _disk(path: Path, what: str) -> Unavailable:
    try:
        usage = os.statvfs(path.parent)
        full = usage.f_bavail * usage.f_frsize < 256 * 1024
    except OSError:
        full = False
    if full or "full" in what:
        return Unavailable(
            f"The disk is full: nothing was written to the database {path}. Make room and try again."
        )
    return Unavailable(f"The database {path} cannot be read or written: {what}. Look at the disk.")
