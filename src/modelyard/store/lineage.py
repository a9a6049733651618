"""Lineage: which version another was made from, how, and what that changed; a forest across models."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from modelyard.core.errors import Conflict
from modelyard.core.history import LineageNode
from modelyard.core.model import Relation
from modelyard.store import projects, tables
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack_object
from modelyard.store.relist import relist
from modelyard.store.version_rows import VERSIONS, find

_MOST = 5000  # versions of a tree that are shown


class Lineage:
    """The lineage of one database's versions."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._audit = Audit(database, clock)

    def set(
        self,
        child: tuple[str, int | str | None],
        parent: tuple[str, int | str | None],
        relation: Relation,
        *,
        tradeoff: Mapping[str, Any] | None = None,
        who: str,
        why: str = "",
    ) -> None:
        """Say that ``child`` (a model, and which of its versions) was made from ``parent``, in place of what was said before.

        Raises NotFound, and Conflict for a parent that is deleted, the version itself, or made from it.
        """
        with self._database.begin() as session:
            made, source = find(session, *child), find(session, *parent)
            told, of = f"{made.model}/{made.number}", f"{source.model}/{source.number}"
            if projects.of_model(session, made.model) != projects.of_model(session, source.model):
                raise Conflict(
                    f"{of} is of another project than {told}; what a version was made from is of its own project.",
                    field="parent",
                )
            if source.deleted_time is not None:
                raise Conflict(f"{of} is deleted; restore it first.", field="parent")
            above: int | None = source.id
            while above is not None:
                if above == made.id:
                    raise Conflict(f"{of} was itself made from {told}.", field="parent")
                above = session.execute(
                    select(tables.lineage.c.parent_id).where(tables.lineage.c.version_id == above)
                ).scalar()
            session.execute(delete(tables.lineage).where(tables.lineage.c.version_id == made.id))
            session.execute(
                insert(tables.lineage).values(
                    version_id=made.id,
                    parent_id=source.id,
                    relation=relation,
                    tradeoff_json=None if tradeoff is None else pack(dict(tradeoff)),
                    time=self._clock(),
                    who=who,
                )
            )
            relist(session, made.id)  # it is found by the figures, too
            self._audit.record(
                who, "lineage.set", told, f"{relation} of {of}{': ' + why if why else ''}", session
            )

    def remove(self, model: str, which: int | str | None, *, who: str, why: str = "") -> None:
        """Forget what a version was made from; nothing happens when that was not said. Raises NotFound."""
        with self._database.begin() as session:
            row = find(session, model, which)
            gone = session.execute(delete(tables.lineage).where(tables.lineage.c.version_id == row.id))
            if gone.rowcount:
                relist(session, row.id)
                self._audit.record(who, "lineage.remove", f"{model}/{row.number}", why, session)

    def tree(self, model: str, which: int | str | None) -> list[LineageNode]:
        """The whole tree that a version stands in, the root first, each after its parent. Raises NotFound."""
        with self._database.session() as session:
            root: int = find(session, model, which).id
            while True:
                above = session.execute(
                    select(tables.lineage.c.parent_id).where(tables.lineage.c.version_id == root)
                ).scalar()
                if above is None:
                    break
                root = above
            nodes: list[LineageNode] = []
            _walk(session, [(root, None)], nodes)
        return nodes


def _walk(session: Connection, level: list[tuple[int, int | None]], nodes: list[LineageNode]) -> None:
    """A level at a time, 500 versions a query."""
    while level and len(nodes) < _MOST:
        following: list[tuple[int, int | None]] = []
        for start in range(0, len(level), 500):
            part = dict(level[start : start + 500])
            rows = session.execute(
                VERSIONS.where(tables.versions.c.id.in_(part)).order_by(
                    tables.models.c.name, tables.versions.c.number
                )
            ).all()
            places: dict[int, int] = {}
            for row in rows:
                places[row.id] = len(nodes)
                nodes.append(
                    LineageNode(
                        model=row.model,
                        number=row.number,
                        parent=part[row.id],
                        relation=row.relation,
                        tradeoff=unpack_object(row.tradeoff_json),
                        aliases=tuple(sorted(row.aliases.split(","))) if row.aliases else (),
                        deprecated=row.deprecated_time is not None,
                        deleted=row.deleted_time is not None,
                    )
                )
            below = select(tables.lineage.c.version_id, tables.lineage.c.parent_id).where(
                tables.lineage.c.parent_id.in_(part)
            )
            following += [(each.version_id, places[each.parent_id]) for each in session.execute(below)]
        level = following
