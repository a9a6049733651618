"""Hints: what a search may have meant that asks for a value which no version has."""

import difflib
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import Column, ColumnElement, Connection, exists, select

from modelyard.core.figure import Bound, parse_bound
from modelyard.core.licence import check_licence
from modelyard.core.listing import Hint, Wanted, precision_of
from modelyard.store import figures, tables
from modelyard.store.facets import FACETS

_l: Final = tables.listings
_f: Final = tables.figures
_TOLD: Final = 5
_LOOKED_AT: Final = 100  # values, the first: of architectures there may be thousands
_ALIKE: Final = 0.5


def hints(session: Connection, wanted: Wanted) -> tuple[Hint, ...]:
    """One for each tag, alias, figure or value of a facet that no version has, of those that the searcher sees; in a registry
    where none has any, none."""
    there = _there(wanted)
    asked = [(name, getattr(wanted, name), *_place(name, there)) for name in (*FACETS, "alias")]
    asked += [("tag", tag, *_place("tag", there)) for tag in wanted.tags]
    found: list[Hint] = []
    for name, value, column, seen in asked:
        if value is None:
            continue
        meant = check_licence(value) if name == "licence" else value
        if session.execute(select(column).where(column == meant, *seen).limit(1)).first():
            continue
        if name == "precision":
            meant = precision_of(value) or value
        if values := _values(session, column, seen):
            found.append(Hint(field=name, value=value, there=nearest(meant, values)))
    found += [
        Hint(field="metric", value=told, there=near)
        for told in wanted.metrics
        if (near := _measured(session, parse_bound(told), there))
    ]
    return tuple(found)


def _measured(session: Connection, bound: Bound, there: list[ColumnElement[bool]]) -> tuple[str, ...]:
    """Bounds in place of one that no version is within: the figure that is nearest to it, or else other names."""
    seen = exists().where(_l.c.version_id == _f.c.version_id, *there).correlate(_f)

    def first(*conditions: ColumnElement[bool], order: ColumnElement[float] = _f.c.value) -> Any:
        query = select(_f.c.data, _f.c.value).where(*conditions, seen)
        return session.execute(query.order_by(order).limit(1)).first()

    if first(*figures.bounded(bound)):
        return ()
    named = replace(bound, comparison=None)
    if not first(*figures.bounded(named)):
        of_name = replace(named, data=None)
        if bound.data is not None and first(*figures.bounded(of_name)):
            data = _values(session, _f.c.data, [_f.c.name == bound.name, seen])
            return tuple(replace(bound, data=each).told for each in nearest(bound.data, data))
        names = _values(session, _f.c.name, [seen])
        return tuple(replace(bound, name=each, data=None).told for each in nearest(bound.name, names))
    near = [
        row.value
        for least, asked in ((True, (">", ">=", "=")), (False, ("<", "<=", "=")))
        if bound.comparison in asked
        and (
            row := first(
                *figures.bounded(replace(bound, comparison="<=" if least else ">=")),
                order=_f.c.value.desc() if least else _f.c.value,
            )
        )
    ]
    return tuple(replace(bound, comparison="=", value=value).told for value in near)


def nearest(meant: str, values: Sequence[str]) -> tuple[str, ...]:
    """Those of ``values`` that are most like what was meant, five at most; when none is, the first of them."""
    folded: dict[str, list[str]] = {}
    for value in values:
        folded.setdefault(value.lower(), []).append(value)
    word = meant.lower()
    within = [each for each in folded if word in each or each in word]
    alike = difflib.get_close_matches(word, folded, _TOLD, _ALIKE)
    # The same in another case, then what has it as a part, then what is spelt like it.
    order = dict.fromkeys([*(each for each in within if each == word), *within, *alike])
    return tuple(value for each in order for value in folded[each])[:_TOLD] or tuple(values[:_TOLD])


def _place(name: str, there: list[ColumnElement[bool]]) -> tuple[Column[Any], list[ColumnElement[bool]]]:
    """Where the values lie that are asked for by ``name``, and which of them the searcher sees."""
    tags, aliases = tables.card_tags.c, tables.aliases.c
    if name == "tag":
        return tags.tag, [exists().where(_l.c.model_id == tags.model_id, *there)]
    if name == "alias":
        return aliases.name, [exists().where(_l.c.version_id == aliases.version_id, *there)]
    return _l.c[name], there


def _there(wanted: Wanted) -> list[ColumnElement[bool]]:
    """The listings that a search of this project can find at all."""
    found: list[ColumnElement[bool]] = [_l.c.deleted if wanted.status == "deleted" else ~_l.c.deleted]
    if wanted.project is not None:
        models = tables.models.c
        # Looked up for one listing after the other: a project may have most of the models.
        found.append(exists().where(models.id == _l.c.model_id, models.project == wanted.project))
    return found


def _values(session: Connection, column: Column[Any], there: list[ColumnElement[bool]]) -> list[str]:
    """The values of a column in their order, each found in its index behind the one before: to count those of
    every listing takes longer than a whole search may. The names of aliases, of which people give few, have no
    index: their rows are read."""
    if column is tables.aliases.c.name:
        return sorted(session.execute(select(column).where(*there).distinct().limit(_LOOKED_AT)).scalars())
    found: list[str] = []
    last = ""
    while len(found) < _LOOKED_AT:
        following = select(column).where(column > last, *there).order_by(column).limit(1)
        value = session.execute(following).scalar()
        if value is None:
            break
        found.append(value)
        last = value
    return found
