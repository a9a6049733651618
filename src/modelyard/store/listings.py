"""Listings: the rows that search reads, made from all that is known of a version, and the search itself.

Everything that changes a version, its card or its marks calls :func:`relist` or :func:`relist_model` in the same
transaction, so that what is found is what is there.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.expression import UnaryExpression

from modelyard.core.card import Card, check_card
from modelyard.core.errors import InvalidInput
from modelyard.core.licence import check_licence
from modelyard.core.listing import MOST, Facts, Listing, Page, Wanted, facts_of
from modelyard.core.manifest import Manifest
from modelyard.core.model import Analysis, Mark
from modelyard.store import tables, words
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack
from modelyard.store.version_rows import DELETED, DEPRECATED, is_deleted

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
}
_SAMPLE: Final = 100
_EQUAL: Final = ("task", "category", "architecture", "format", "adapter", "precision")


class Listings:
    """The listings of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def search(self, wanted: Wanted, limit: int = 50, cursor: str | None = None) -> Page:
        """The first ``limit`` listings that are all of it, or those behind ``cursor``, in the order of
        ``wanted.sort``. A page begins behind the last listing of the one before, whatever was added or deleted since:
        what is there all the while is on exactly one page. Raises InvalidInput for a cursor of another search.
        """
        if not 1 <= limit <= MOST:
            raise InvalidInput(f"A page has 1 to {MOST} versions.", field="limit")
        column, falling = _KEYS[wanted.sort]
        with self._database.session() as session:
            conditions = all_of(session, wanted, column)
            if cursor is not None:
                conditions.append(_behind(column, falling, *_read_cursor(cursor, wanted)))
            order = (column.desc(), _l.c.version_id.desc()) if falling else (column, _l.c.version_id)
            if column is _l.c.version_id:
                order = order[:1]
            query = select(_l.c.version_id, column.label("key")).where(*conditions).order_by(*order)
            found = session.execute(query.limit(limit + 1)).all()
            shown = found[:limit]
            listed = _listings(session, [row.version_id for row in shown])
        last = shown[-1] if len(found) > limit else None
        return Page(
            versions=tuple(listed),
            next=None if last is None else _write_cursor(wanted, last.key, last.version_id),
        )

    def count(self, wanted: Wanted, most: int) -> int:
        """How many listings are all of it; ``most`` + 1 when there are more than ``most``, which are not counted."""
        with self._database.session() as session:
            conditions = all_of(session, wanted, _l.c.version_id)
            some = select(_l.c.version_id).where(*conditions).limit(most + 1)
            return session.execute(select(func.count()).select_from(some.subquery())).scalar_one()

    def rebuild(self) -> int:
        """Make all listings anew; how many there are."""
        with self._database.begin() as session:
            return rebuild(session)


def rebuild(session: Connection) -> int:
    """The same, within a transaction about everything."""
    session.execute(delete(_l))
    for model_id in session.execute(select(tables.models.c.id)).scalars().all():
        relist_model(session, model_id)
    return session.execute(select(func.count()).select_from(_l)).scalar_one()


def relist(session: Connection, version_id: int) -> None:
    """Make the listing of one version anew, and say which of its model is the latest now."""
    query = (
        select(
            tables.versions,
            tables.models.c.name.label("model"),
            tables.cards.c.card_json,
            tables.readmes.c.text.label("readme"),
        )
        .join(tables.models, tables.models.c.id == tables.versions.c.model_id)
        .outerjoin(tables.cards, tables.cards.c.model_id == tables.versions.c.model_id)
        .outerjoin(tables.readmes, tables.readmes.c.version_id == tables.versions.c.id)
    )
    row = session.execute(query.where(tables.versions.c.id == version_id)).one()
    marks = set(
        session.execute(
            select(tables.marks.c.mark).where(tables.marks.c.version_id == version_id)
        ).scalars()
    )
    card = Card() if row.card_json is None else unpack(row.card_json, Card)
    analysis = unpack(row.analysis_json, Analysis)
    facts = facts_of(analysis)
    said = card.filled(_licensed(facts))
    listed = {
        "version_id": version_id,
        "model_id": row.model_id,
        "model": row.model,
        "number": row.number,
        "latest": False,
        "deprecated": DEPRECATED in marks,
        "deleted": DELETED in marks,
        "quarantined": row.quarantine is not None,
        "format": facts.format,
        "adapter": facts.adapter,
        "size": unpack(row.manifest_json, Manifest).size,
        "parameters": -1 if facts.parameters is None else facts.parameters,
        "precision": facts.precision,
        "architecture": card.architecture or facts.architecture,
        "task": card.task,
        "category": card.category,
        "licence": said.licence,
        "commercial": said.commercial,
    }
    session.execute(delete(_l).where(_l.c.version_id == version_id))
    session.execute(insert(_l).values(listed))
    told = (
        row.model, card.title, card.summary, card.task, card.category, said.licence, listed["architecture"],
        facts.format, facts.adapter, facts.precision, *facts.imports, *card.tags, row.readme if card.text is None else card.text,
    )  # fmt: skip
    words.put(session, version_id, " ".join(str(each) for each in told if each))
    mark_latest(session, row.model_id)


def _licensed(facts: Facts) -> Card:
    """A card that says the licence of the files, where it is one that a card can say."""
    try:
        return Card() if facts.licence is None else check_card(Card(licence=facts.licence))
    except InvalidInput:
        return Card()


def relist_model(session: Connection, model_id: int) -> None:
    """The same for all versions of a model."""
    of_model = select(tables.versions.c.id).where(tables.versions.c.model_id == model_id)
    for version_id in session.execute(of_model.order_by(tables.versions.c.id)).scalars().all():
        relist(session, version_id)


def mark_latest(session: Connection, model_id: int) -> None:
    """Say which listing of a model is the latest: that of the highest number that is not deleted."""
    highest = select(func.max(tables.versions.c.number)).where(
        tables.versions.c.model_id == model_id, ~is_deleted()
    )
    number = session.execute(highest).scalar()
    session.execute(
        update(_l)
        .where(_l.c.model_id == model_id, _l.c.latest, _l.c.number != (number or 0))
        .values(latest=False)
    )
    session.execute(update(_l).where(_l.c.model_id == model_id, _l.c.number == number).values(latest=True))


class _Plan(NamedTuple):
    """``likely``: many listings have the words; ``ordered``: so many are wanted that the fastest is to walk them in
    the order of the page until it is full."""

    likely: bool
    ordered: bool


def all_of(session: Connection, wanted: Wanted, order: Column[Any]) -> list[ColumnElement[bool]]:
    """The conditions of a listing that is all of it, for a page in the ``order`` of a column."""
    plan = _plan(session, wanted)
    return [
        *_conditions(session, wanted, order if plan.ordered else None),
        *_text(session, wanted, likely=plan.likely),
    ]


def _plan(session: Connection, wanted: Wanted) -> _Plan:
    """How to search, by what a hundred listings say: SQLite, which keeps no statistics, would take any index there is
    and sort half of the table for fifty of it. PostgreSQL knows by itself."""
    if session.dialect.name != "sqlite":
        return _Plan(likely=False, ordered=False)
    conditions, words_ = _conditions(session, wanted), _text(session, wanted, likely=True)
    last = session.execute(select(func.max(_l.c.version_id))).scalar() or 0
    if last < 20 * _SAMPLE:
        return _Plan(likely=False, ordered=False)
    ids = range(1 + last % (last // _SAMPLE), last + 1, last // _SAMPLE)
    row = session.execute(
        select(
            func.sum(case((and_(True, *words_), 1), else_=0)).label("text"),
            func.sum(case((and_(True, *conditions), 1), else_=0)).label("rest"),
        ).where(_l.c.version_id.in_(ids))
    ).one()
    text, rest = row.text or 0, row.rest or 0
    if not words_:
        return _Plan(likely=False, ordered=rest >= 0.05 * _SAMPLE)
    return _Plan(likely=text >= 0.05 * _SAMPLE, ordered=text >= 0.05 * _SAMPLE and rest > 0)


def _text(session: Connection, wanted: Wanted, *, likely: bool) -> list[ColumnElement[bool]]:
    if wanted.text is None:
        return []
    found = words.matching(session, wanted.text, _l.c.version_id, likely=likely)
    return [] if found is None else [found]


def _conditions(
    session: Connection, wanted: Wanted, order: Column[Any] | None = None
) -> list[ColumnElement[bool]]:
    """All but the words. With ``order``, on SQLite, no index is used but that of this column."""

    def column(name: str) -> ColumnElement[Any]:
        found = _l.c[name]
        if order is None or found is order:
            return found
        return _plain(found)

    found: list[ColumnElement[bool]] = []
    if wanted.name is not None:
        found += _named(column("model"), wanted.name)
    for name in _EQUAL:
        value = getattr(wanted, name)
        if value is not None:
            found.append(column(name) == value)
    if wanted.licence is not None:
        found.append(column("licence") == check_licence(wanted.licence))
    if wanted.commercial is not None:
        found.append(column("commercial").is_(wanted.commercial))
    for name in ("size", "parameters"):
        least, most = getattr(wanted, f"min_{name}"), getattr(wanted, f"max_{name}")
        if least is None and most is not None:
            least = 0  # what is not known is not taken for small
        if least is not None:
            found.append(column(name) >= max(0, least))
        if most is not None:
            found.append(column(name) <= most)
    if wanted.project is not None:
        models = tables.models
        found.append(column("model_id").in_(select(models.c.id).where(models.c.project == wanted.project)))
    tags = tables.card_tags
    found += [
        column("model_id").in_(select(tags.c.model_id).where(tags.c.tag == tag)) for tag in wanted.tags
    ]
    id = _l.c.version_id if order is None else _plain(_l.c.version_id)
    if wanted.alias is not None:
        found.append(
            id.in_(select(tables.aliases.c.version_id).where(tables.aliases.c.name == wanted.alias))
        )
    return found + _standing(wanted, id, column("model"))


def _plain(column: Column[Any]) -> ColumnElement[Any]:
    """The column as an expression that no index is of."""
    plus: operators.custom_op[Any] = operators.custom_op("+")
    return UnaryExpression(column, operator=plus, type_=column.type)


def _standing(
    wanted: Wanted, id: ColumnElement[int], model: ColumnElement[str]
) -> list[ColumnElement[bool]]:
    marked = select(tables.marks.c.version_id).where(tables.marks.c.mark == wanted.status)
    if wanted.status == "deleted":
        return [id.in_(marked)]
    if wanted.status is None and not wanted.all_versions and wanted.alias is None:
        return [_l.c.latest]  # none that is deleted
    found: list[ColumnElement[bool]] = [~_l.c.deleted]
    if wanted.status == "deprecated":
        found.append(id.in_(marked))
    elif wanted.status == "quarantined":
        found.append(_l.c.quarantined)
    elif wanted.status == "usable":
        found += [~_l.c.deprecated, ~_l.c.quarantined]
        if not wanted.all_versions and wanted.alias is None:
            found.append(_l.c.latest)
    elif wanted.status == "deployed":
        used = _deployed(tables.deployments.c.model, tables.deployments.c.version)
        found.append(tuple_(model, _l.c.number).in_(used))
    return found


def _deployed(*columns: Any) -> Any:
    deployments, traffic = tables.deployments, tables.traffic
    return (
        select(*columns)
        .select_from(deployments)
        .join(
            traffic,
            and_(
                traffic.c.endpoint_id == deployments.c.endpoint_id,
                or_(traffic.c.wanted == deployments.c.id, traffic.c.serving == deployments.c.id),
            ),
        )
    )


def _named(model: ColumnElement[str], name: str) -> list[ColumnElement[bool]]:
    """A beginning by range, so that the index answers it: names are ordered by their bytes."""
    prefix = name.removesuffix("*")
    if "*" in prefix:
        raise InvalidInput("A * stands at the end of a name: fraud*.", field="name")
    if prefix == name:
        return [model == name]
    return [model >= prefix, model < prefix + "\x7f"]


def _behind(column: Column[Any], falling: bool, key: Any, id: int) -> ColumnElement[bool]:
    if column is _l.c.version_id:
        return column < id if falling else column > id
    here, there = tuple_(column, _l.c.version_id), tuple_(key, id)
    return here < there if falling else here > there


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    search: str
    key: int | str
    id: int


def _search_of(wanted: Wanted) -> str:
    return hashlib.sha256(pack(wanted).encode()).hexdigest()[:12]


def _write_cursor(wanted: Wanted, key: int | str, id: int) -> str:
    packed = msgspec.json.encode(_Cursor(_search_of(wanted), key, id))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _read_cursor(cursor: str, wanted: Wanted) -> tuple[int | str, int]:
    try:
        packed = base64.b64decode(
            cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        )
        read = msgspec.json.decode(packed, type=_Cursor)
    except (binascii.Error, msgspec.MsgspecError, UnicodeError, ValueError) as error:
        raise InvalidInput(
            "This is no cursor; take it from `next` of the page before.", field="cursor"
        ) from error
    textual = wanted.sort == "name"
    if read.search != _search_of(wanted) or isinstance(read.key, str) != textual:
        raise InvalidInput(
            "This cursor is of another search; search for the same in the same order, or begin without it.",
            field="cursor",
        )
    return read.key, read.id


def _listings(session: Connection, ids: Sequence[int]) -> list[Listing]:
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
    for row in session.execute(select(tables.marks).where(tables.marks.c.version_id.in_(ids))):
        marks[row.version_id, row.mark] = Mark(time=row.time, who=row.who, why=row.why, until=row.until)
    endpoints = _endpoints(session, rows.values())
    return [
        _noun(
            rows[id], aliases.get(id, ()), endpoints.get((rows[id].model, rows[id].number), ()),
            marks.get((id, DEPRECATED)), marks.get((id, DELETED)),
        )
        for id in ids
    ]  # fmt: skip


def _endpoints(session: Connection, rows: Any) -> dict[tuple[str, int], list[str]]:
    deployments = tables.deployments
    query = _deployed(tables.endpoints.c.name, deployments.c.model, deployments.c.version).join(
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
        latest=row.latest,
        quarantine=row.quarantine,
        deprecated=deprecated,
        deleted=deleted,
    )
