"""Lockfiles: what the environments of deployments were built of, kept where the deployments are."""

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from modelyard.core.lockfile import Lockfile
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack
from modelyard.store.tables import deployments, lockfiles

_GRACE: Final = 24 * 3600.0  # seconds: it is kept a moment before the deployment that refers to it


class Lockfiles:
    """The lockfiles of one database, by the ids of their environments."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def keep(self, lockfile: Lockfile) -> None:
        """Have it kept for as long as a deployment has its environment, and for a day at least."""
        row = {"kept": self._clock(), "lockfile_json": pack(lockfile)}
        id = lockfile.environment
        known = update(lockfiles).where(lockfiles.c.environment == id).values(row)
        try:
            with self._database.begin() as session:
                if session.execute(known).rowcount == 0:
                    session.execute(insert(lockfiles).values(environment=id, **row))
        except IntegrityError:
            return  # another process put the same there between our two statements

    def get(self, environment: str) -> Lockfile | None:
        """None when nothing is known of it: its deployment is of a release that kept none."""
        query = select(lockfiles.c.lockfile_json).where(lockfiles.c.environment == environment)
        with self._database.session() as session:
            text = session.execute(query).scalar()
        return None if text is None else unpack(text, Lockfile)

    def forget(self) -> int:
        """Remove those whose environment no deployment has any more; how many they were."""
        used = select(deployments.c.environment).where(deployments.c.environment.is_not(None))
        unused = lockfiles.c.environment.not_in(used)
        with self._database.begin() as session:
            old = lockfiles.c.kept < self._clock() - _GRACE
            return session.execute(delete(lockfiles).where(unused, old)).rowcount
