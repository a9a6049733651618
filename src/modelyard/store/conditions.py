"""What is searched for, as conditions that listings fulfil; and how they are looked for."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.expression import UnaryExpression

from modelyard.core.errors import InvalidInput
from modelyard.core.figure import Bound, parse_bound
from modelyard.core.licence import check_licence
from modelyard.core.listing import BY_METRIC, Wanted
from modelyard.store import figures, tables, words

_l: Final = tables.listings
_f: Final = tables.figures
_SAMPLE: Final = 100
_MANY: Final = 0.05
_STRIDE: Final = 2_654_435_761  # 2^32 over the golden ratio: its multiples are spread evenly
_EQUAL: Final = ("task", "category", "architecture", "format", "adapter", "precision")


class Found(NamedTuple):
    """The ``conditions`` of listings, by what they are put in order, and by which id those that are equal in that."""

    conditions: list[ColumnElement[bool]]
    key: ColumnElement[Any]
    id: ColumnElement[int]


class _Plan(NamedTuple):
    """``likely``: many listings have the words; ``ordered``: so many are wanted (or so few have the figure that they
    are put in order by) that the fastest is to walk them in the order of the page until it is full; ``few``: so few
    beside many that have this figure that all of them are read and put in order."""

    likely: bool = False
    ordered: bool = False
    few: bool = False


def all_of(session: Connection, wanted: Wanted, order: Column[Any]) -> Found:
    """What is all of it, for a page in the ``order`` of a column: one of the listings, or the value of the figure that
    ``wanted`` is sorted by, of which these are the conditions too."""
    bounds = _bounds(wanted)
    rare = {bound: ids for bound in bounds if (ids := figures.few(session, bound)) is not None}
    plan = _plan(session, wanted, [bound for bound in bounds if bound not in rare])
    walked = order if plan.ordered else None
    conditions = [
        *_conditions(wanted, walked, looked_up=not plan.ordered),
        *_standing(wanted, walked),
        *_measured(session, bounds, rare),
        *_text(session, wanted, likely=plan.likely),
    ]
    if wanted.sort in BY_METRIC:
        return _ranked(session, wanted, conditions, few=plan.few)
    return Found(conditions, order, _l.c.version_id)


def _ranked(
    session: Connection, wanted: Wanted, conditions: list[ColumnElement[bool]], *, few: bool
) -> Found:
    """With the one figure that each listing is put in order by: read in its order, or, of ``few``, one listing after the
    other."""
    bound, falling = parse_bound(wanted.metrics[0]), wanted.sort == "-metric"
    if not few:
        of_listing = [_f.c.version_id == _l.c.version_id, *figures.ranked(bound, _f, falling=falling)]
        return Found([*of_listing, *conditions], _f.c.value, _f.c.version_id)
    held = _f.alias("ranked")
    value = _plain(held.c.value) if _is_sqlite(session) else held.c.value
    of_listing = [
        held.c.version_id == _l.c.version_id,
        *figures.ranked(bound, held, value, falling=falling),
    ]
    key = select(held.c.value).where(*of_listing).correlate(_l).scalar_subquery()
    # Not "exists": PostgreSQL would join with all that have the figure.
    return Found([key.is_not(None), *conditions], key, _l.c.version_id)


def _is_sqlite(session: Connection) -> bool:
    return session.dialect.name == "sqlite"


def _plan(session: Connection, wanted: Wanted, bounds: Sequence[Bound]) -> _Plan:
    """How to search, by what a hundred listings say: SQLite, which keeps no statistics, would take any index there is
    and sort half of the table for fifty of it. PostgreSQL knows by itself, but for the order of figures: its statistics
    are of the values of all of them together. ``bounds`` are those that many are within."""
    by_figure = wanted.sort in BY_METRIC
    if not _is_sqlite(session) and (not by_figure or wanted.text is not None):
        return _Plan()
    last = session.execute(select(func.max(_l.c.version_id))).scalar() or 0
    if last < 20 * _SAMPLE:
        return _Plan()
    others = _conditions(wanted, None, looked_up=False)
    asked = {
        "text": _text(session, wanted, likely=True),
        "narrow": others,  # what an index may be of
        "rest": [*others, *_standing(wanted, None), *_measured(session, bounds)],
    }
    if by_figure:
        asked["figure"] = _measured(session, [parse_bound(wanted.metrics[0])])
    counted = _counted(session, last, asked)
    many = {name for name, count in counted.items() if count >= _MANY * _SAMPLE}
    if not _is_sqlite(session):
        return _Plan(few="figure" in many and "rest" not in many)
    likely = bool(asked["text"]) and "text" in many
    if by_figure and "figure" not in many:
        ordered = True
    elif asked["text"]:
        ordered = likely and counted["rest"] > 0
    else:
        # No index tells which are the latest of those within a bound that many are within.
        ordered = "rest" in many or (bool(bounds) and "narrow" in many)
    return _Plan(likely, ordered, by_figure and not ordered)


def _counted(
    session: Connection, last: int, asked: Mapping[str, list[ColumnElement[bool]]]
) -> dict[str, int]:
    """How many of a hundred listings fulfil all of each; ``last`` is the highest id."""
    step = last // _SAMPLE
    # One of each hundredth, and not the same of each: what a program registers repeats itself.
    ids = [1 + number * step + number * _STRIDE % step for number in range(_SAMPLE)]
    sums = [func.sum(case((and_(True, *conditions), 1), else_=0)) for conditions in asked.values()]
    row = session.execute(select(*sums).where(_l.c.version_id.in_(ids))).one()
    return {name: count or 0 for name, count in zip(asked, row, strict=True)}


def _bounds(wanted: Wanted) -> list[Bound]:
    """Those that the order does not imply."""
    bounds = [parse_bound(each) for each in wanted.metrics]
    return bounds[1:] if wanted.sort in BY_METRIC and bounds[0].comparison != "=" else bounds


def _measured(
    session: Connection, bounds: Iterable[Bound], rare: Mapping[Bound, Sequence[int]] = MappingProxyType({})
) -> list[ColumnElement[bool]]:
    """Whether a listing has figures within ``bounds``; those that have one within a ``rare`` one are named. For each of
    the others SQLite would read all that is within the bound, and not what the listing has."""
    held = _f.alias("held")  # beside the figure that it is sorted by
    value = _plain(held.c.value) if _is_sqlite(session) else None
    return [
        _l.c.version_id.in_(rare[bound])
        if bound in rare
        else exists().where(held.c.version_id == _l.c.version_id, *figures.bounded(bound, held, value))
        for bound in bounds
    ]


def _conditions(wanted: Wanted, order: Column[Any] | None, *, looked_up: bool) -> list[ColumnElement[bool]]:
    """All but the words, the figures and the state. With ``order``, on SQLite, no index is used but that of this
    column. What stands in other tables is ``looked_up`` there, all of it at once, or else for one listing after the
    other: a project with most of the models is not listed for fifty of them."""

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
    return found


def _standing(wanted: Wanted, order: Column[Any] | None) -> list[ColumnElement[bool]]:
    """Whether a listing is in the state that is asked for; with ``order`` as for :func:`_conditions`."""
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
        model = _l.c.model if order is None or order is _l.c.model else _plain(_l.c.model)
        found.append(
            tuple_(model, _l.c.number).in_(
                deployed(tables.deployments.c.model, tables.deployments.c.version)
            )
        )
    return found


def _plain(column: ColumnElement[Any]) -> ColumnElement[Any]:
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
