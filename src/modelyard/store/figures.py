"""Figures: the tables of metrics of each version, and the single numbers of them that search compares."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, FromClause, delete, insert, select

from modelyard.core.figure import COMPARED, MOST, Bound, Figure, figure_key, figures_of, tradeoff_figures
from modelyard.core.metrics import MetricsTable
from modelyard.store import tables
from modelyard.store.nouns import pack, unpack

_own: Final = tables.version_metrics
_f: Final = tables.figures
_FEW: Final = 500
Tables = tuple[MetricsTable, ...]


def keep(session: Connection, version_id: int, measured: Sequence[MetricsTable]) -> bool:
    """Keep tables of figures as those of a version, in place of what it had; whether that changed something. Its listing
    is not made anew by this."""
    told = tuple(replace(table, source="") for table in measured)
    if told == of(session, version_id):
        return False
    session.execute(delete(_own).where(_own.c.version_id == version_id))
    if told:
        session.execute(insert(_own).values(version_id=version_id, tables_json=pack(told)))
    return True


def of(session: Connection, version_id: int) -> Tables:
    """The tables of a version, without it as their source."""
    held = session.execute(select(_own.c.tables_json).where(_own.c.version_id == version_id)).scalar()
    return () if held is None else unpack(held, Tables)


def kept(session: Connection, model: str, model_id: int, most: int, first: int | None = None) -> Tables:
    """The tables of a model's versions, each with its version as the source: those of the version ``first`` (a number),
    then those of the others, the newest first; ``most`` in all."""
    versions = tables.versions
    query = (
        select(versions.c.number, _own.c.tables_json)
        .join(versions, versions.c.id == _own.c.version_id)
        .where(versions.c.model_id == model_id)
        .order_by((versions.c.number == first).desc(), versions.c.number.desc())
        .limit(most)
    )
    found = [
        replace(table, source=f"{model}/{row.number}")
        for row in session.execute(query)
        for table in unpack(row.tables_json, Tables)
    ]
    return tuple(found[:most])


def known(own: Tables, tradeoff: Mapping[str, Any] | None, of_model: Tables) -> tuple[Figure, ...]:
    """All figures of a version: of its own tables, of what its lineage tells, and, of what none of these names, of
    those of its model."""
    measured = figures_of(own) + tradeoff_figures(tradeoff)
    named = {figure_key(figure.name) for figure in measured}
    return measured + tuple(each for each in figures_of(of_model) if figure_key(each.name) not in named)


def put(session: Connection, version_id: int, measured: Iterable[Figure]) -> None:
    """Write what a version is found by, in place of what it was found by."""
    session.execute(delete(_f).where(_f.c.version_id == version_id))
    rows = rows_of(version_id, measured)
    if rows:
        session.execute(insert(_f), rows)


def rows_of(version_id: int, measured: Iterable[Figure]) -> list[dict[str, Any]]:
    """The rows of a version's figures; of two of the same name and data the first counts."""
    found: dict[tuple[str, str], float] = {}
    ends: dict[str, dict[bool, tuple[str, str]]] = {}
    for figure in measured:
        key = figure_key(figure.name), figure_key(figure.data)
        if key in found or len(found) == MOST:
            continue
        found[key] = figure.value
        end = ends.setdefault(key[0], {True: key, False: key})
        if figure.value > found[end[True]]:
            end[True] = key
        if figure.value < found[end[False]]:
            end[False] = key
    return [
        {
            "version_id": version_id, "name": key[0], "data": key[1], "value": value,
            "highest": ends[key[0]][True] == key, "lowest": ends[key[0]][False] == key,
        }
        for key, value in found.items()
    ]  # fmt: skip


def bounded(
    bound: Bound, of: FromClause = _f, value: ColumnElement[float] | None = None
) -> list[ColumnElement[bool]]:
    """The conditions of a row that is within ``bound``; ``value`` in place of the column."""
    found: list[ColumnElement[bool]] = [of.c.name == bound.name]
    if bound.data is not None:
        found.append(of.c.data == bound.data)
    value = of.c.value if value is None else value
    if bound.comparison is not None:
        found.append(COMPARED[bound.comparison](value, bound.value))
    return found


def few(session: Connection, bound: Bound) -> list[int] | None:
    """The versions that have a figure within ``bound``; None when they are many."""
    # In the order of the index, so that no database reads all figures to find that there are none.
    query = select(_f.c.version_id).where(*bounded(bound)).order_by(_f.c.value).limit(_FEW + 1)
    found = session.execute(query).scalars().all()
    return None if len(found) > _FEW else sorted({*found})


def ranked(
    bound: Bound, of: FromClause, value: ColumnElement[float] | None = None, *, falling: bool
) -> list[ColumnElement[bool]]:
    """The conditions of the one row that a version within ``bound`` is put in order by: where it has figures of several
    data, the highest or the lowest one, whichever ``bound`` asks for, or else the order."""
    if bound.comparison == "=":
        bound = replace(bound, comparison=None)  # of several rows any may be the equal one
    found = bounded(bound, of, value)
    if bound.data is None:
        highest = falling if bound.comparison is None else bound.comparison in (">=", ">")
        found.append(of.c.highest if highest else of.c.lowest)
    return found


def told(
    session: Connection, versions: Sequence[int], bounds: Sequence[Bound]
) -> dict[int, tuple[Figure, ...]]:
    """The figures that were asked for, of some versions: in the order of the bounds, of each the highest first."""
    found: dict[int, dict[tuple[str, str], Figure]] = {id: {} for id in versions}
    named = {bound.name for bound in bounds}
    if not named:
        return dict.fromkeys(versions, ())
    # By version and name alone, as their key has them, and not by value: that would read those of all versions.
    query = select(_f).where(_f.c.version_id.in_(versions), _f.c.name.in_(named))
    rows = sorted(session.execute(query), key=lambda row: (-row.value, row.data))
    for bound, row in itertools.product(bounds, rows):
        if bound.holds(row.name, row.data, row.value):
            figure = Figure(name=row.name, value=row.value, data=row.data)
            found[row.version_id].setdefault((row.name, row.data), figure)
    return {id: tuple(each.values()) for id, each in found.items()}
