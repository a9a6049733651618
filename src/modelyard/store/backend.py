"""What the two databases do differently, behind one interface; everything else of the store is the same."""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from modelyard.core.errors import ModelyardError, Unavailable


class DatabaseAway(Unavailable):
    """The database's server does not answer, or not to us. What was asked for may be asked again."""


class Backend(Protocol):
    """SQLite or PostgreSQL."""

    @property
    def shown(self) -> str:
        """Which database it is, for people; never a password."""
        ...

    @property
    def reading(self) -> Mapping[str, Any]:
        """Execution options of a transaction that only reads one consistent picture."""
        ...

    @property
    def writing(self) -> Mapping[str, Any]:
        """Execution options of a transaction that writes."""
        ...

    def engine(self) -> Engine:
        """A new engine; nothing is opened yet."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Held around a transaction that writes, before it takes a connection."""
        ...

    def lock(self, connection: Connection, subjects: tuple[str, ...]) -> None:
        """At the start of a transaction that writes: wait until no other one writes (about) ``subjects``."""
        ...

    def migrating(self) -> AbstractContextManager[None]:
        """Held by the one process that looks whether there is something to migrate, and migrates."""
        ...

    def before_upgrade(self, engine: Engine) -> None:
        """What has to be done outside of a transaction, before the first revision."""
        ...

    def lock_upgrade(self, connection: Connection) -> None:
        """As :meth:`lock` of everything, for however long an upgrade takes."""
        ...

    def make_new(self, connection: Connection) -> bool:
        """Make all tables of the newest revision at once where there are none of ours; False: the migrations do."""
        ...

    def time(self, engine: Engine) -> float:
        """Seconds since the epoch by the clock that all who share the database go by."""
        ...

    def translate(self, error: BaseException) -> ModelyardError | None:
        """What the driver or the disk did wrong as one of our errors; None for a fault in a statement."""
        ...


@contextmanager
def told(backend: Backend) -> Generator[None, None, None]:
    """Raise failures of the database as ours; a fault in a statement stays as it is."""
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    try:
        yield
    except DBAPIError as error:
        ours = backend.translate(error.orig) if error.orig is not None else None
        if ours is None:
            raise
        raise ours from error
    except PoolTimeoutError as error:
        raise Unavailable("Too many calls use the database at once; try again.", retry_after=1.0) from error
    except ModelyardError:
        raise
    except Exception as error:
        ours = backend.translate(error)
        if ours is None:
            raise
        raise ours from error
