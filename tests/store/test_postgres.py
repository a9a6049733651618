"""PostgreSQL as a server is in life: away, refusing, full, slow; told by what to do, and never with a password."""

import contextlib
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from modelyard.core.errors import InvalidInput, ModelyardError, Unavailable
from modelyard.store.database import Database, DatabaseAway
from modelyard.store.jobs import Jobs
from modelyard.store.postgres import Gate, check_url
from support.postgres import PASSWORD, PostgresServer


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer("max_connections=12") as server:
        yield server


def failure(database: Database) -> ModelyardError:
    with pytest.raises(ModelyardError) as caught:
        Jobs(database).create("deploy", "e", (), {})
    assert PASSWORD not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    "url",
    [
        "mysql://a:b@c/d",
        "postgresql://a:secret@c",
        "sqlite:///x",
        "postgresql+asyncpg://a/b",
        "",
    ],
)
def test_what_is_no_url_of_postgresql_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_url(url)
    assert "secret" not in caught.value.message


def test_it_is_shown_without_a_password(shared: Database) -> None:
    assert "***" in shared.shown and PASSWORD not in shared.shown and PASSWORD not in repr(shared.__dict__)
    hidden = Database("postgresql://u@h/d?password=secret&sslmode=disable")
    assert "secret" not in hidden.shown


def test_the_gate_waits_longer_and_longer_and_opens_at_once_when_it_answers() -> None:
    now = [0.0]
    gate = Gate(lambda: now[0])
    waits: list[float] = []
    for _ in range(7):
        gate.check()
        gate.failed()
        gate.failed()  # another thread that found out the same
        waits.append(gate.wait)
        with pytest.raises(DatabaseAway) as caught:
            gate.check()
        assert caught.value.retry_after == waits[-1]
        now[0] += waits[-1]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    gate.passed()
    gate.check()
    gate.failed()
    assert gate.wait == 0.5


def test_a_server_that_is_not_there_is_told_and_asked_again_by_itself(server: PostgresServer) -> None:
    database = Database(server.create())
    database.migrate()
    server.stop()
    told = failure(database)
    assert isinstance(told, DatabaseAway) and "does not answer" in told.message and told.retry_after
    begun = time.monotonic()
    for _ in range(200):  # nobody waits for a server that is known to be away
        failure(database)
    assert time.monotonic() - begun < 10
    server.start()
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(DatabaseAway):
            Jobs(database).create("deploy", "back", (), {})
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    database.close()


@pytest.mark.parametrize(
    ("user", "password", "name", "says"),
    [
        ("modelyard", "wrong-secret", None, "password authentication failed"),
        ("nobody", "wrong-secret", None, "password authentication failed"),
        ("modelyard", PASSWORD, "nowhere", "does not exist"),
    ],
)
def test_who_is_not_let_in_is_told_what_to_look_at(
    postgres: PostgresServer, user: str, password: str, name: str | None, says: str
) -> None:
    database = Database(postgres.url(name or postgres.migrated, user=user, password=password))
    told = failure(database)
    assert not isinstance(told, DatabaseAway) and says in told.message and "modelyard.toml" in told.message
    assert password not in told.message
    database.close()


def test_without_a_connection_left_it_is_told_and_goes_on_when_there_is_one(server: PostgresServer) -> None:
    url = server.create()
    database = Database(url)
    database.migrate()
    database.close()
    with contextlib.ExitStack() as others:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                others.enter_context(contextlib.closing(psycopg.connect(url)))
        told = failure(database)
        assert isinstance(told, DatabaseAway) and ("too many" in told.message or "reserved" in told.message)
    time.sleep(told.retry_after or 0)
    Jobs(database).create("deploy", "e", (), {})
    database.close()


def test_a_connection_that_was_ended_is_not_noticed_by_the_next_call(
    shared: Database, postgres: PostgresServer
) -> None:
    Jobs(shared).create("deploy", "e", (), {})
    name = shared.shown.rpartition("/")[2]
    assert postgres.disconnect(name) > 0
    assert len(Jobs(shared).list(10)) == 1


def test_a_transaction_whose_connection_ends_is_taken_back_whole(
    shared: Database, postgres: PostgresServer
) -> None:
    with pytest.raises(DatabaseAway, match="went away"), shared.begin() as session:
        session.exec_driver_sql("INSERT INTO models (name, created) VALUES ('half', 0)")
        postgres.disconnect(shared.shown.rpartition("/")[2])
        session.exec_driver_sql("INSERT INTO models (name, created) VALUES ('whole', 0)")
    with shared.session() as session:
        assert session.exec_driver_sql("SELECT count(*) FROM models").scalar() == 0


def test_writers_of_one_subject_wait_for_each_other_and_those_of_others_do_not(shared: Database) -> None:
    inside, go = threading.Event(), threading.Event()

    def hold(*subjects: str) -> None:
        with shared.begin(*subjects):
            inside.set()
            assert go.wait(60)

    def begin(*subjects: str) -> float:
        """Seconds until it has begun; waits half a second at most."""
        begun = time.monotonic()
        with contextlib.suppress(Unavailable), shared.begin(*subjects) as session:
            return time.monotonic() - begun if session else 0.0
        return time.monotonic() - begun

    for held, same, other in ((("a", "b"), ("b", "c"), ("c",)), ((), ("a",), None)):
        inside.clear()
        go.clear()
        thread = threading.Thread(target=hold, args=held)
        thread.start()
        assert inside.wait(60)
        if other is not None:
            begin(*other)
        waiter = threading.Thread(target=begin, args=same)
        waiter.start()
        waiter.join(0.3)
        assert waiter.is_alive()
        go.set()
        thread.join(60)
        waiter.join(60)
        assert not waiter.is_alive()


def test_a_reader_has_one_picture_which_no_writer_disturbs(shared: Database) -> None:
    jobs = Jobs(shared)
    with shared.session() as session:
        count = session.exec_driver_sql("SELECT count(*) FROM jobs").scalar()
        jobs.create("deploy", "e", (), {})
        assert session.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == count == 0
    assert len(jobs.list(10)) == 1


def test_its_time_is_the_servers(shared: Database) -> None:
    assert abs(shared.time() - time.time()) < 5


def test_a_statement_that_takes_too_long_ends_and_is_told_as_busy(shared: Database) -> None:
    with pytest.raises(Unavailable, match="busy"), shared.session() as session:
        session.exec_driver_sql("SET LOCAL statement_timeout = 50")
        session.exec_driver_sql("SELECT pg_sleep(10)")
