"""SQLite: one file in the home, opened by several processes, one writer at a time."""

import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from modelyard.core.errors import ModelyardError, Unavailable
from modelyard.store import new_file

_PATIENCE = 15.0  # seconds that a writer waits for another one
_WRITES = "modelyard_writes"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES)


class Sqlite:
    """A :class:`~modelyard.store.backend.Backend`."""

    reading: Mapping[str, Any] = {}
    writing: Mapping[str, Any] = {_WRITES: True}

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()

    @property
    def shown(self) -> str:
        return str(self.path)

    def engine(self) -> Engine:
        engine = create_engine(
            URL.create("sqlite+pysqlite", database=str(self.path)),
            connect_args={"timeout": _PATIENCE, "check_same_thread": False},
            pool_size=4,
            max_overflow=60,
            pool_timeout=_PATIENCE,
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine

    @contextmanager
    def turn(self) -> Generator[None, None, None]:
        """Threads of one process are woken one by one; SQLite would have each sleep and try again, and leave the file
        idle meanwhile. Other processes are waited for as it does."""
        if not self._turn.acquire(timeout=_PATIENCE):
            raise _busy()
        try:
            yield
        finally:
            self._turn.release()

    def lock(self, connection: Connection, subjects: tuple[str, ...]) -> None:
        """``BEGIN IMMEDIATE`` was it: there is one writer, whatever it writes about."""

    def lock_upgrade(self, connection: Connection) -> None:
        """The same."""

    @contextmanager
    def migrating(self) -> Generator[None, None, None]:
        path = self.path.with_name(f"{self.path.name}.migrate.lock")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def before_upgrade(self, engine: Engine) -> None:
        # Kept in the file; switching needs the file alone, so it is done under the lock.
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute("PRAGMA journal_mode = WAL").close()

    def make_new(self, connection: Connection) -> bool:
        new_file.fill(connection)
        return True

    def time(self, engine: Engine) -> float:
        return time.time()

    def translate(self, error: BaseException) -> ModelyardError | None:
        if isinstance(error, sqlite3.Error):
            return self._of_sqlite(error)
        if isinstance(error, OSError) and error.errno in _DISK:
            return self._of_disk(os.strerror(error.errno))
        return None

    def _of_sqlite(self, error: sqlite3.Error) -> ModelyardError | None:
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return _busy()
            case sqlite3.SQLITE_FULL:
                return self._of_disk(str(error))
            case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY:
                return self._of_disk(str(error))
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return Unavailable(
                    f"The database {self.path} is damaged ({error}); put a backup in its place.",
                )
            case _:
                return None

    def _of_disk(self, what: str) -> Unavailable:
        try:
            usage = os.statvfs(self.path.parent)
            full = usage.f_bavail * usage.f_frsize < 256 * 1024
        except OSError:
            full = False
        if full or "full" in what:
            return Unavailable(
                f"The disk is full: nothing was written to the database {self.path}. Make room and try again."
            )
        return Unavailable(f"The database {self.path} cannot be read or written: {what}. Look at the disk.")


def _busy() -> Unavailable:
    return Unavailable("The database is busy with another writer; try again.", retry_after=1.0)


def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    # Python would begin transactions by itself, too late and never IMMEDIATE.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON").close()
    connection.execute("PRAGMA synchronous = FULL").close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
