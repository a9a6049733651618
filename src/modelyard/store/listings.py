"""Listings: versions as search finds them, a page at a time. How their rows are made is in ``relist.py``."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import Column, ColumnElement, Connection, Row, func, select, tuple_

from modelyard.core.card import Card
from modelyard.core.errors import InvalidInput
from modelyard.core.figure import Figure, parse_bound
from modelyard.core.listing import MOST, Listing, Page, Wanted
from modelyard.core.model import Mark
from modelyard.store import figures, tables
from modelyard.store.conditions import all_of, deployed
from modelyard.store.cursors import read_cursor, write_cursor
from modelyard.store.database import Database
from modelyard.store.hints import hints
from modelyard.store.nouns import unpack
from modelyard.store.obstacles import obstacles
from modelyard.store.relist import rebuild
from modelyard.store.version_rows import DELETED, DEPRECATED

_l: Final = tables.listings
_KEYS: Final[
    dict[str, tuple[Column[Any], bool]]
] = {  # by the name of a sort: its column, and whether it falls
    "newest": (_l.c.version_id, True),
    "oldest": (_l.c.version_id, False),
    "name": (_l.c.model, False),
    "size": (_l.c.size, False),
    "-size": (_l.c.size, True),
    "parameters": (_l.c.parameters, False),
    "-parameters": (_l.c.parameters, True),
    "metric": (tables.figures.c.value, False),
    "-metric": (tables.figures.c.value, True),
}


class Listings:
    """The listings of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def search(self, wanted: Wanted, limit: int = 50, cursor: str | None = None) -> Page:
        """The first ``limit`` listings that are all of it, or those behind ``cursor``, in the order of
        ``wanted.sort``. A page begins behind the last listing of the one before, whatever was added or deleted since:
        what is there all the while is on exactly one page. When nothing is found, hints tell which of the values no
        version has, or else obstacles which of them each keep everything out. Raises InvalidInput for a cursor of another search.
        """
        if not 1 <= limit <= MOST:
            raise InvalidInput(f"A page has 1 to {MOST} versions.", field="limit")
        column, falling = _KEYS[wanted.sort]
        with self._database.session() as session:
            conditions, key, id = all_of(session, wanted, column)
            if cursor is not None:
                conditions.append(_behind(key, id, falling, *read_cursor(cursor, wanted)))
            shown_key = key.label("key")
            order = [shown_key, id] if key is not id else [id]
            query = (
                select(_l.c.version_id, shown_key)
                .where(*conditions)
                .order_by(*(each.desc() if falling else each for each in order))
            )
            found = session.execute(query.limit(limit + 1)).all()
            shown = found[:limit]
            listed = _listings(session, [row.version_id for row in shown], wanted.metrics)
            empty = not found and cursor is None
            hinted = hints(session, wanted) if empty else ()
            blocking = obstacles(session, wanted) if empty and not hinted else ()
        last = shown[-1] if len(found) > limit else None
        return Page(
            versions=tuple(listed),
            next=None if last is None else write_cursor(wanted, last.key, last.version_id),
            hints=hinted,
            obstacles=blocking,
        )

    def count(self, wanted: Wanted, most: int) -> int:
        """How many listings are all of it; ``most`` + 1 when there are more than ``most``, which are not counted."""
        wanted = replace(wanted, sort="newest")
        with self._database.session() as session:
            conditions, *_ = all_of(session, wanted, _l.c.version_id)
            some = select(_l.c.version_id).where(*conditions).limit(most + 1)
            return session.execute(select(func.count()).select_from(some.subquery())).scalar_one()

    def rebuild(self) -> int:
        """Make all listings anew; how many there are."""
        with self._database.begin() as session:
            return rebuild(session)


def _behind(
    key: ColumnElement[Any], id: ColumnElement[int], falling: bool, last: Any, last_id: int
) -> ColumnElement[bool]:
    if key is id:
        return id < last_id if falling else id > last_id
    here, there = tuple_(key, id), tuple_(last, last_id)
    return here < there if falling else here > there


def _listings(session: Connection, ids: Sequence[int], metrics: Sequence[str]) -> list[Listing]:
    """The listings of a page, with what is only looked up for what is shown."""
    if not ids:
        return []
    query = (
        select(
            _l,
            tables.versions.c.digest,
            tables.versions.c.created,
            tables.versions.c.quarantine,
            tables.cards.c.card_json,
        )
        .join(tables.versions, tables.versions.c.id == _l.c.version_id)
        .outerjoin(tables.cards, tables.cards.c.model_id == _l.c.model_id)
        .where(_l.c.version_id.in_(ids))
    )
    rows = {row.version_id: row for row in session.execute(query)}
    aliases: dict[int, list[str]] = {}
    named = (
        select(tables.aliases).where(tables.aliases.c.version_id.in_(ids)).order_by(tables.aliases.c.name)
    )
    for row in session.execute(named):
        aliases.setdefault(row.version_id, []).append(row.name)
    marks: dict[tuple[int, str], Mark] = {}
    marked = [id for id, row in rows.items() if row.deprecated or row.deleted]
    of_marked = select(tables.marks).where(tables.marks.c.version_id.in_(marked))
    for row in session.execute(of_marked) if marked else ():
        marks[row.version_id, row.mark] = Mark(time=row.time, who=row.who, why=row.why, until=row.until)
    endpoints = _endpoints(session, rows.values())
    measured = figures.told(session, ids, [parse_bound(each) for each in metrics])
    return [
        _noun(
            rows[id], aliases.get(id, ()), endpoints.get((rows[id].model, rows[id].number), ()),
            measured[id], marks.get((id, DEPRECATED)), marks.get((id, DELETED)),
        )
        for id in ids
    ]  # fmt: skip


def _endpoints(session: Connection, rows: Any) -> dict[tuple[str, int], list[str]]:
    deployments = tables.deployments
    query = deployed(tables.endpoints.c.name, deployments.c.model, deployments.c.version).join(
        tables.endpoints, tables.endpoints.c.id == deployments.c.endpoint_id
    )
    query = query.where(deployments.c.model.in_({row.model for row in rows})).distinct()
    found: dict[tuple[str, int], list[str]] = {}
    for row in session.execute(query.order_by(tables.endpoints.c.name)):
        found.setdefault((row.model, row.version), []).append(row.name)
    return found


def _noun(
    row: Row[Any],
    aliases: Sequence[str],
    endpoints: Sequence[str],
    measured: tuple[Figure, ...],
    deprecated: Mark | None,
    deleted: Mark | None,
) -> Listing:
    card = Card() if row.card_json is None else unpack(row.card_json, Card)
    return Listing(
        model=row.model,
        number=row.number,
        digest=row.digest,
        created=row.created,
        format=row.format,
        adapter=row.adapter,
        size=row.size,
        title=card.title,
        parameters=None if row.parameters < 0 else row.parameters,
        precision=row.precision,
        architecture=row.architecture,
        task=row.task,
        category=row.category,
        licence=row.licence,
        commercial=row.commercial,
        tags=card.tags,
        aliases=tuple(aliases),
        endpoints=tuple(endpoints),
        figures=measured,
        latest=row.latest,
        quarantine=row.quarantine,
        deprecated=deprecated,
        deleted=deleted,
    )
