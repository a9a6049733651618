"""PostgreSQL: a server that several control planes share; each writes about its own subjects at once.

Source: https://www.postgresql.org/docs/current/explicit-locking.html (advisory locks, row locks),
https://www.postgresql.org/docs/current/errcodes-appendix.html (the codes that are translated).
"""

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from modelyard.core.errors import InvalidInput, ModelyardError, Unavailable
from modelyard.store.backend import DatabaseAway

if TYPE_CHECKING:
    import psycopg

_POOL: Final = 5  # connections kept
_MOST: Final = 20  # connections at once; a server allows 100 in all by default
_PATIENCE: Final = 15.0  # seconds that a writer waits for another one, or a call for a connection
_STATEMENT: Final = 30.0  # seconds that one statement may take
_CONNECT: Final = 5  # seconds
_EVERYTHING: Final = 0x6D6F64656C796172  # the advisory lock that whoever writes holds: "modelyar"
# What the server is told of each connection, in its units (milliseconds).
_SESSION: Final = {
    "statement_timeout": round(_STATEMENT * 1000),
    "lock_timeout": round(_PATIENCE * 1000),
    "idle_in_transaction_session_timeout": 60_000,
    "timezone": "UTC",
}
# A server that is gone without a word is noticed within seconds.
_SOCKET: Final[dict[str, Any]] = {
    "connect_timeout": _CONNECT,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "modelyard",
}


class Postgres:
    """A :class:`~modelyard.store.backend.Backend`. ``url`` is as :func:`check_url` takes it.

    Transactions that write are READ COMMITTED behind advisory locks: what they read after having them is
    what others have committed. Those that only read are REPEATABLE READ: one picture.
    """

    reading: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ"}
    writing: Mapping[str, Any] = {"isolation_level": "READ COMMITTED"}

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = check_url(url)
        self._gate = Gate(clock)

    @property
    def shown(self) -> str:
        return self._url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)

    def engine(self) -> Engine:
        try:
            import psycopg
            from psycopg.conninfo import make_conninfo
        except ImportError as error:
            raise InvalidInput(
                "A database of PostgreSQL needs the extra `postgres`: pip install '.[postgres]' in Modelyard's folder.",
                field="database",
            ) from error
        told: dict[str, Any] = {
            name: value if isinstance(value, str) else ",".join(value)
            for name, value in self._url.query.items()
        }
        options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
        given = self._url.translate_connect_args(username="user", database="dbname")
        told["options"] = f"{options} {told.get('options', '')}".strip()
        where = make_conninfo("", **(_SOCKET | given | told))

        def connect() -> "psycopg.Connection[Any]":
            self._gate.check()
            try:
                made = psycopg.connect(where)
            except psycopg.OperationalError:
                self._gate.failed()
                raise
            self._gate.passed()
            return made

        return create_engine(
            self._url.set(drivername="postgresql+psycopg"),
            creator=connect,
            pool_size=_POOL,
            max_overflow=_MOST - _POOL,
            pool_timeout=_PATIENCE,
            pool_pre_ping=True,
            pool_recycle=1800,
        )

    def turn(self) -> AbstractContextManager[None]:
        """The server has them wait for each other."""
        return nullcontext()

    def lock(self, connection: Connection, subjects: tuple[str, ...]) -> None:
        """All hold the lock of everything; with ``subjects`` they share it and hold one of each besides.

        Always in one order, so that no two of us wait for each other.
        """
        if not subjects:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_EVERYTHING})"))
            return
        keys = sorted({_key(subject) for subject in subjects})
        locks = ", ".join(f"pg_advisory_xact_lock({key})" for key in keys)  # taken from left to right
        connection.execute(text(f"SELECT pg_advisory_xact_lock_shared({_EVERYTHING}), {locks}"))

    def lock_upgrade(self, connection: Connection) -> None:
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        self.lock(connection, ())

    @contextmanager
    def migrating(self) -> Generator[None, None, None]:
        # The transaction of the upgrade holds the lock, and looks again once it has it.
        yield

    def make_new(self, connection: Connection) -> bool:
        """Never: a team makes one once, and the migrations may take their second for it."""
        return False

    def before_upgrade(self, engine: Engine) -> None:
        """Nothing: the server's databases are made by whoever looks after it."""

    def time(self, engine: Engine) -> float:
        with engine.connect() as connection:
            now = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
            return float(now.scalar_one())

    def translate(self, error: BaseException) -> ModelyardError | None:
        import psycopg

        if not isinstance(error, psycopg.Error):
            return None
        state = error.sqlstate
        if state is None:
            return self._of_connection(error)
        match state:
            case "55P03" | "57014" | "40001" | "40P01":
                return Unavailable("The database is busy with another writer; try again.", retry_after=1.0)
            case "25006":
                return DatabaseAway(
                    f"The database {self.shown} is read-only now; name its primary server, or see why it is.",
                    retry_after=5.0,
                )
            case "53100":
                return DatabaseAway(
                    f"The disk of the database {self.shown} is full: nothing was written. Make room there.",
                    retry_after=10.0,
                )
            case "53200" | "53300" | "53400":
                return DatabaseAway(
                    f"The database {self.shown} has no room for another connection ({_words(error)}).",
                    retry_after=self._gate.wait,
                )
            case "42501":
                return Unavailable(f"The database {self.shown} does not let us: {_words(error)}.")
            case "58030" | "XX001" | "XX002":
                return Unavailable(f"The database {self.shown} is damaged: {_words(error)}.")
            case _ if state.startswith(("08", "57P", "25P03")):
                return DatabaseAway(
                    f"The database {self.shown} went away ({_words(error)}).",
                    retry_after=self._gate.wait,
                )
            case _:
                return None

    def _of_connection(self, error: "psycopg.Error") -> ModelyardError | None:
        """No code: the connection could not be made, or broke. The server's words tell which."""
        import psycopg

        if not isinstance(error, psycopg.OperationalError):
            return None
        words = _words(error)
        for sign in (
            "password authentication failed",
            "no pg_hba.conf entry",
            "does not exist",
            "no password",
        ):
            if sign in words:
                return Unavailable(
                    f"The database {self.shown} does not let us in: {words}. Look at user, password and name in "
                    "`database` of modelyard.toml (or MODELYARD_DATABASE)."
                )
        return DatabaseAway(
            f"The database {self.shown} does not answer ({words}).", retry_after=self._gate.wait
        )


class Gate:
    """When a server that is away is asked again: after 0.5 s, 1 s, … 8 s. Until then nobody waits for it."""

    FIRST: Final = 0.5
    MOST: Final = 8.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._step = 0.0
        self._until = 0.0

    @property
    def wait(self) -> float:
        """Seconds until it is asked again; of a server that was there a moment ago, the first step."""
        with self._lock:
            left = self._until - self._clock()
        return left if left > 0 else self.FIRST

    def check(self) -> None:
        """Raise DatabaseAway while it is not asked."""
        with self._lock:
            left = self._until - self._clock()
        if left > 0:
            raise DatabaseAway("The database does not answer; it is tried again soon.", retry_after=left)

    def failed(self) -> None:
        """It did not answer. Of several who found that out at once one makes the step."""
        with self._lock:
            now = self._clock()
            if now < self._until:
                return
            self._step = min(self.MOST, self._step * 2) if self._step else self.FIRST
            self._until = now + self._step

    def passed(self) -> None:
        """It answered."""
        with self._lock:
            self._step = self._until = 0.0


def check_url(url: str) -> URL:
    """A URL of PostgreSQL, as libpq and SQLAlchemy read it. Raises InvalidInput, never with the password."""
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        made = None
    if made is None or made.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise InvalidInput(
            "The database is to be a URL such as postgresql://user:password@host:5432/modelyard (without it, it is a "
            "file in the home).",
            field="database",
        )
    if not made.database:
        raise InvalidInput(
            "The URL of the database names no database: postgresql://user:password@host:5432/modelyard.",
            field="database",
        )
    return made


def _key(subject: str) -> int:
    """A subject's advisory lock: 64 bits with a sign. Two subjects of one key only wait for each other."""
    return int.from_bytes(hashlib.blake2b(subject.encode(), digest_size=8).digest(), signed=True)


def _words(error: BaseException) -> str:
    """The first line of what it says, without the mark of its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[0] if lines else type(error).__name__
    _, mark, rest = last.partition("FATAL:")
    return (rest if mark else last).strip().rstrip(".")[:300]
