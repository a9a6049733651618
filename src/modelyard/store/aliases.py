"""Aliases: movable names for versions, and every move that there ever was."""

import builtins
import time
from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from modelyard.core.errors import Conflict
from modelyard.core.history import AliasMove
from modelyard.core.reference import check_alias
from modelyard.store import tables
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.version_rows import find, model_id, no_alias, subject

NONE = 0  # what is expected of an alias that is not there yet


class Aliases:
    """The aliases of one database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._audit = Audit(database, clock)

    def move(
        self,
        model: str,
        alias: str,
        which: int | str | None,
        *,
        who: str,
        why: str = "",
        expected: int | None = None,
    ) -> AliasMove | None:
        """Point an alias at a version (a number, another alias, None: the latest); None when it is there already.

        With ``expected`` only when it points at that number now (0: when there is no such alias). Raises NotFound,
        InvalidInput for a name that cannot be one, and Conflict, naming what is there now and who put it there, when
        something else is expected or somebody else moved it at the same moment, and for a version that is deleted.
        """
        check_alias(alias)
        with self._told(model, alias), self._database.begin(subject(model)) as session:
            row = find(session, model, which)
            former = self._pointed(session, row.model_id, alias)
            self._expect(session, model, alias, former, expected)
            if row.deleted_time is not None:
                raise Conflict(
                    f"{model}/{row.number} is deleted; restore it before an alias names it.",
                    field="version",
                )
            if former == (row.id, row.number):
                return None
            here = (tables.aliases.c.model_id == row.model_id, tables.aliases.c.name == alias)
            if former is None:
                session.execute(
                    insert(tables.aliases).values(model_id=row.model_id, name=alias, version_id=row.id)
                )
            else:
                # Also where two transactions may write at once, only one of two movers finds what it has read.
                moved = session.execute(
                    update(tables.aliases)
                    .where(*here, tables.aliases.c.version_id == former[0])
                    .values(version_id=row.id)
                )
                if moved.rowcount != 1:
                    raise self._lost(model, alias)
            return self._record(
                session, model, alias, row.number, former and former[1], row.digest, who, why
            )

    def remove(
        self, model: str, alias: str, *, who: str, why: str = "", expected: int | None = None
    ) -> AliasMove:
        """Take an alias away; its history stays. Raises NotFound, and Conflict as :meth:`move`."""
        with self._database.begin(subject(model)) as session:
            id = model_id(session, model)
            former = self._pointed(session, id, alias)
            if former is None:
                raise no_alias(session, model, alias)
            self._expect(session, model, alias, former, expected)
            gone = session.execute(
                delete(tables.aliases).where(
                    tables.aliases.c.model_id == id,
                    tables.aliases.c.name == alias,
                    tables.aliases.c.version_id == former[0],
                )
            )
            if gone.rowcount != 1:
                raise self._lost(model, alias)
            return self._record(session, model, alias, None, former[1], None, who, why)

    def list(self, model: str) -> dict[str, int]:
        """The numbers that the aliases of a model point at, by name. Raises NotFound."""
        query = (
            select(tables.aliases.c.name, tables.versions.c.number)
            .join(tables.versions, tables.versions.c.id == tables.aliases.c.version_id)
            .order_by(tables.aliases.c.name)
        )
        with self._database.session() as session:
            rows = session.execute(query.where(tables.aliases.c.model_id == model_id(session, model)))
            return {row.name: row.number for row in rows}

    def history(
        self,
        model: str,
        alias: str | None = None,
        *,
        since: float | None = None,
        until: float | None = None,
        former: bool = True,
    ) -> builtins.list[AliasMove]:
        """The moves in the order in which they were made, of one alias when it is named; also (``former``) of a model
        of this name that is gone.

        With ``since`` (seconds since the epoch) those that held then or were made later, with ``until`` those that
        were made by then: with both the same, what held at that moment. Raises NotFound when there is no such
        model, or alias, and never was.
        """
        moves = tables.alias_moves
        query = select(moves).where(moves.c.model == model)
        if alias is not None:
            query = query.where(moves.c.alias == alias)
        with self._database.session() as session:
            if session.execute(query.limit(1)).first() is None:
                model_id(session, model)
                if alias is not None:
                    raise no_alias(session, model, alias)
            if until is not None:
                query = query.where(moves.c.time <= until)
            if not former:
                made = select(tables.models.c.created).where(tables.models.c.name == model)
                query = query.where(moves.c.time >= made.scalar_subquery())
            rows = session.execute(query.order_by(moves.c.id)).mappings().all()
        found = [AliasMove(**row) for row in rows]
        if since is None:
            return found
        held = {move.alias: move.id for move in found if move.time <= since}
        return [
            move
            for move in found
            if move.time > since or (held[move.alias] == move.id and move.version is not None)
        ]

    def _pointed(self, session: Connection, model_id: int, alias: str) -> tuple[int, int] | None:
        query = (
            select(tables.versions.c.id, tables.versions.c.number)
            .join(tables.aliases, tables.aliases.c.version_id == tables.versions.c.id)
            .where(tables.aliases.c.model_id == model_id, tables.aliases.c.name == alias)
        )
        row = session.execute(query.with_for_update()).one_or_none()
        return None if row is None else (row.id, row.number)

    def _expect(
        self,
        session: Connection,
        model: str,
        alias: str,
        former: tuple[int, int] | None,
        expected: int | None,
    ) -> None:
        now = NONE if former is None else former[1]
        if expected is None or expected == now:
            return
        there = "not there" if former is None else f"at version {now}"
        moves = tables.alias_moves
        last = session.execute(
            select(moves)
            .where(moves.c.model == model, moves.c.alias == alias)
            .order_by(moves.c.id.desc())
            .limit(1)
        ).one_or_none()
        by = f" (moved by {last.who}{': ' + last.why if last.why else ''})" if last is not None else ""
        wanted = "that there is none yet" if expected == NONE else f"version {expected}"
        raise Conflict(
            f"{model}@{alias} is {there} now{by}, and {wanted} was expected; look at it before you move it.",
            field="expected",
        )

    @staticmethod
    def _lost(model: str, alias: str) -> Conflict:
        return Conflict(f"Somebody else moved {model}@{alias} at the same moment; look at where it is now.")

    def _told(self, model: str, alias: str) -> "_FirstWins":
        return _FirstWins(self._lost(model, alias))

    def _record(
        self,
        session: Connection,
        model: str,
        alias: str,
        version: int | None,
        former: int | None,
        digest: str | None,
        who: str,
        why: str,
    ) -> AliasMove:
        values = AliasMove(
            id=0,
            time=self._clock(),
            model=model,
            alias=alias,
            version=version,
            former=former,
            digest=digest,
            who=who,
            why=why,
        )
        columns = {name: each for name, each in msgspec.structs.asdict(values).items() if name != "id"}
        made = session.execute(insert(tables.alias_moves).values(columns))
        (id,) = made.inserted_primary_key or (None,)
        assert isinstance(id, int)
        to = "removed" if version is None else f"version {version}"
        since = "" if former is None else f", before version {former}"
        what = "alias.remove" if version is None else "alias.move"
        self._audit.record(
            who, what, f"{model}@{alias}", f"{to}{since}{': ' + why if why else ''}", session
        )
        return msgspec.structs.replace(values, id=id)


class _FirstWins:
    """Two that make the same alias at once, where the database lets both begin: the later one is told."""

    def __init__(self, lost: Conflict) -> None:
        self._lost = lost

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IntegrityError):
            raise self._lost from error


def forget_aliases(
    session: Connection, model: str, model_id: int, clock: Callable[[], float], who: str, why: str
) -> None:
    """Remove all aliases of a model that is deleted, as moves like any other."""
    query = (
        select(tables.aliases.c.name, tables.versions.c.number)
        .join(tables.versions, tables.versions.c.id == tables.aliases.c.version_id)
        .where(tables.aliases.c.model_id == model_id)
    )
    for row in session.execute(query.order_by(tables.aliases.c.name)).all():
        session.execute(
            insert(tables.alias_moves).values(
                time=clock(), model=model, alias=row.name, version=None, former=row.number, digest=None,
                who=who, why=why or "the model was deleted",
            )
        )  # fmt: skip
    session.execute(delete(tables.aliases).where(tables.aliases.c.model_id == model_id))
