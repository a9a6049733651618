"""What is searched for, as conditions that listings fulfil; and how they are looked for."""

from typing import Any, Final, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, and_, case, exists, func, or_, select, tuple_
from sqlalchemy.sql import operators
from sqlalchemy.sql.expression import UnaryExpression

from modelyard.core.errors import InvalidInput
from modelyard.core.licence import check_licence
from modelyard.core.listing import Wanted
from modelyard.store import tables, words

_l: Final = tables.listings
_SAMPLE: Final = 100
_STRIDE: Final = 2_654_435_761  # 2^32 over the golden ratio: its multiples are spread evenly
_EQUAL: Final = ("task", "category", "architecture", "format", "adapter", "precision")


class _Plan(NamedTuple):
    """``likely``: many listings have the words; ``ordered``: so many are wanted that the fastest is to walk them in
    the order of the page until it is full."""

    likely: bool
    ordered: bool


def all_of(session: Connection, wanted: Wanted, order: Column[Any]) -> list[ColumnElement[bool]]:
    """The conditions of a listing that is all of it, for a page in the ``order`` of a column."""
    plan = _plan(session, wanted)
    return [
        *_conditions(wanted, order if plan.ordered else None, looked_up=not plan.ordered),
        *_text(session, wanted, likely=plan.likely),
    ]


def _plan(session: Connection, wanted: Wanted) -> _Plan:
    """How to search, by what a hundred listings say: SQLite, which keeps no statistics, would take any index there is
    and sort half of the table for fifty of it. PostgreSQL knows by itself."""
    if session.dialect.name != "sqlite":
        return _Plan(likely=False, ordered=False)
    conditions, words_ = _conditions(wanted, None, looked_up=False), _text(session, wanted, likely=True)
    last = session.execute(select(func.max(_l.c.version_id))).scalar() or 0
    if last < 20 * _SAMPLE:
        return _Plan(likely=False, ordered=False)
    step = last // _SAMPLE
    # One of each hundredth, and not the same of each: what a program registers repeats itself.
    ids = [1 + number * step + number * _STRIDE % step for number in range(_SAMPLE)]
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


def _conditions(wanted: Wanted, order: Column[Any] | None, *, looked_up: bool) -> list[ColumnElement[bool]]:
    """All but the words. With ``order``, on SQLite, no index is used but that of this column. What stands in other
    tables is ``looked_up`` there, all of it at once, or else for one listing after the other: a project with most of the
    models is not listed for fifty of them."""

    def column(name: str) -> ColumnElement[Any]:
        found = _l.c[name]
        if order is None or found is order:
            return found
        return _plain(found)

    def among(name: str, key: Column[Any], *where: ColumnElement[bool]) -> ColumnElement[bool]:
        if looked_up:
            return column(name).in_(select(key).where(*where))
        return exists().where(key == column(name), *where)

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
    models, tags, aliases, marks = tables.models.c, tables.card_tags.c, tables.aliases.c, tables.marks.c
    if wanted.project is not None:
        found.append(among("model_id", models.id, models.project == wanted.project))
    found += [among("model_id", tags.model_id, tags.tag == tag) for tag in wanted.tags]
    if wanted.alias is not None:
        found.append(among("version_id", aliases.version_id, aliases.name == wanted.alias))
    if wanted.status in ("deleted", "deprecated"):
        found.append(among("version_id", marks.version_id, marks.mark == wanted.status))
    return found + _standing(wanted, column("model"))


def _standing(wanted: Wanted, model: ColumnElement[str]) -> list[ColumnElement[bool]]:
    if wanted.status == "deleted":
        return []
    if wanted.status is None and not wanted.all_versions and wanted.alias is None:
        return [_l.c.latest]  # none that is deleted
    found: list[ColumnElement[bool]] = [~_l.c.deleted]
    if wanted.status == "quarantined":
        found.append(_l.c.quarantined)
    elif wanted.status == "usable":
        found += [~_l.c.deprecated, ~_l.c.quarantined]
        if not wanted.all_versions and wanted.alias is None:
            found.append(_l.c.latest)
    elif wanted.status == "deployed":
        found.append(
            tuple_(model, _l.c.number).in_(
                deployed(tables.deployments.c.model, tables.deployments.c.version)
            )
        )
    return found


def _plain(column: Column[Any]) -> ColumnElement[Any]:
    """The column as an expression that no index is of."""
    plus: operators.custom_op[Any] = operators.custom_op("+")
    return UnaryExpression(column, operator=plus, type_=column.type)


def _text(session: Connection, wanted: Wanted, *, likely: bool) -> list[ColumnElement[bool]]:
    if wanted.text is None:
        return []
    found = words.matching(session, wanted.text, _l.c.version_id, likely=likely)
    return [] if found is None else [found]


def _named(model: ColumnElement[str], name: str) -> list[ColumnElement[bool]]:
    """A beginning by range, so that the index answers it: names are ordered by their bytes."""
    prefix = name.removesuffix("*")
    if "*" in prefix:
        raise InvalidInput("A * stands at the end of a name: fraud*.", field="name")
    if prefix == name:
        return [model == name]
    return [model >= prefix, model < prefix + "\x7f"]


def deployed(*columns: Any) -> Any:
    """These columns of the deployments that an endpoint wants or serves."""
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
