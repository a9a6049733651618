"""The file signatures of versions. Whether one holds is not kept: keys come and go."""

import builtins
import hashlib
import time
from collections.abc import Callable

from sqlalchemy import ColumnElement, insert, select

from modelyard.core.errors import NotFound
from modelyard.core.signing import FileSignature
from modelyard.store import tables
from modelyard.store.audit import Audit
from modelyard.store.database import Database

_ids = select(tables.versions.c.id).join(tables.models)


class Signatures:
    """The file signatures of one database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._audit = Audit(database, clock)

    def add(self, model: str, number: int, bundle: str, *, place: str = "", who: str = "system") -> None:
        """Keep ``bundle``; one that is there already stays as it is. Raises NotFound."""
        digest = hashlib.sha256(bundle.encode()).hexdigest()
        rows = tables.signatures
        with self._database.begin() as session:
            id = session.execute(_ids.where(*_is(model, number))).scalar()
            if id is None:
                raise _none(model, number)
            if session.execute(
                select(rows.c.id).where(rows.c.version_id == id, rows.c.digest == digest)
            ).first():
                return
            session.execute(
                insert(rows).values(
                    version_id=id, digest=digest, bundle=bundle, place=place, who=who, created=self._clock()
                )
            )
            self._audit.record(who, "version.sign", f"{model}/{number}", place, session)

    def list(self, model: str, number: int) -> builtins.list[FileSignature]:
        """Those of a version, unchecked, the first one first. Raises NotFound."""
        rows = tables.signatures
        with self._database.session() as session:
            id = session.execute(_ids.where(*_is(model, number))).scalar()
            if id is None:
                raise _none(model, number)
            found = session.execute(select(rows).where(rows.c.version_id == id).order_by(rows.c.id))
            return [
                FileSignature(
                    digest=row.digest, bundle=row.bundle, place=row.place, who=row.who, created=row.created
                )
                for row in found
            ]


def _is(model: str, number: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return tables.models.c.name == model, tables.versions.c.number == number


def _none(model: str, number: int) -> NotFound:
    return NotFound(f"The model {model!r} has no version {number}.", field="version")
