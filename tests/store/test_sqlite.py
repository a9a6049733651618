"""Writers of one process wait for their turn at the file, and not for ever."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from modelyard.core.errors import Unavailable
from modelyard.store import sqlite
from modelyard.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "rows.db")
    database.migrate()
    yield database
    database.close()


def add(database: Database, name: str) -> None:
    with database.begin() as session:
        session.execute(text("INSERT INTO models (name, created) VALUES (:name, 0)"), {"name": name})


def names(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.execute(text("SELECT name FROM models ORDER BY name")).scalars())


def test_who_waits_too_long_for_a_turn_is_told_to_come_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_PATIENCE", 0.2)
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as session:
            session.execute(text("INSERT INTO models (name, created) VALUES ('first', 0)"))
            with pytest.raises(Unavailable, match="busy with another writer") as caught:
                pool.submit(add, database, "second").result()
            assert names(database) == []  # who reads waits for nobody
        assert caught.value.retry_after == 1.0
        pool.submit(add, database, "second").result()  # the turn was not lost
    assert names(database) == ["first", "second"]


def test_a_turn_is_given_on_whatever_its_holder_ran_into(database: Database) -> None:
    with pytest.raises(KeyboardInterrupt), database.begin():
        raise KeyboardInterrupt
    with pytest.raises(Unavailable), database.begin():
        raise sqlite.sqlite3.OperationalError.__new__(_Busy)
    add(database, "after")
    assert names(database) == ["after"]


class _Busy(sqlite.sqlite3.OperationalError):
    sqlite_errorcode = sqlite.sqlite3.SQLITE_BUSY


def test_many_who_write_at_once_all_get_their_turn(database: Database) -> None:
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda number: add(database, f"m{number:03}"), range(120)))
    assert names(database) == [f"m{number:03}" for number in range(120)]


def test_another_process_is_waited_for_with_the_turn_in_hand(database: Database) -> None:
    """Its lock is the file's: the next one here waits behind who waits for it, and both are served."""
    other = Database(database._backend.path)  # type: ignore[union-attr]
    begun = threading.Event()

    def hold() -> None:
        with other.begin() as session:
            session.execute(text("INSERT INTO models (name, created) VALUES ('theirs', 0)"))
            begun.set()
            time.sleep(0.3)

    with ThreadPoolExecutor(3) as pool:
        held = pool.submit(hold)
        assert begun.wait(60)
        waiting = [pool.submit(add, database, name) for name in ("a", "b")]
        for each in (held, *waiting):
            each.result()
    assert names(database) == ["a", "b", "theirs"]
    other.close()
