"""Hints: what a search may have meant that asks for a value which no version has."""

import difflib
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, select

from modelyard.core.licence import check_licence
from modelyard.core.listing import Hint, Wanted, precision_of
from modelyard.store import tables
from modelyard.store.facets import FACETS

_l: Final = tables.listings
_TOLD: Final = 5
_LOOKED_AT: Final = 500  # values, the frequent ones: of architectures there may be thousands
_ALIKE: Final = 0.5


def hints(session: Connection, wanted: Wanted) -> tuple[Hint, ...]:
    """One for each value of a facet that no version has, of those that the searcher sees; in a registry without
    versions none."""
    there = _there(wanted)
    found: list[Hint] = []
    for name in FACETS:
        value = getattr(wanted, name)
        if value is None:
            continue
        meant, column = check_licence(value) if name == "licence" else value, _l.c[name]
        if session.execute(select(_l.c.version_id).where(column == meant, *there).limit(1)).first():
            continue
        frequent = select(column).where(column.is_not(None), *there).group_by(column)
        frequent = frequent.order_by(func.count().desc(), column).limit(_LOOKED_AT)
        values = session.execute(frequent).scalars().all()
        if name == "precision":
            meant = precision_of(value) or value
        if values:
            found.append(Hint(field=name, value=value, there=nearest(meant, values)))
    return tuple(found)


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


def _there(wanted: Wanted) -> list[ColumnElement[bool]]:
    """The listings that a search of this project can find at all."""
    found: list[ColumnElement[bool]] = [_l.c.deleted if wanted.status == "deleted" else ~_l.c.deleted]
    if wanted.project is not None:
        models = tables.models.c
        found.append(_l.c.model_id.in_(select(models.id).where(models.project == wanted.project)))
    return found
