"""Obstacles: which one of the things that were searched for keeps out everything that is all of the rest."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace
from sqlalchemy import Connection, select

from modelyard.core.listing import Obstacle, Wanted
from modelyard.store import tables
from modelyard.store.conditions import all_of

_l: Final = tables.listings
# Who searches is never told what is in other projects.
_SINGLE: Final = (
    "name", "text", "task", "category", "architecture", "licence", "commercial", "format", "adapter", "precision", "alias",
    "min_size", "max_size", "min_parameters", "max_parameters", "status",
)  # fmt: skip


def obstacles(session: Connection, wanted: Wanted) -> tuple[Obstacle, ...]:
    """Those of a search that finds nothing. None when it takes two of them away to find something."""
    return tuple(
        obstacle
        for obstacle, without in _each_away(replace(wanted, sort="newest"))
        if session.execute(
            select(_l.c.version_id).where(*all_of(session, without, _l.c.version_id).conditions).limit(1)
        ).first()
    )


def _each_away(wanted: Wanted) -> Iterator[tuple[Obstacle, Wanted]]:
    for name in _SINGLE:
        value = getattr(wanted, name)
        if value is not None:
            told = str(value).lower() if isinstance(value, bool) else str(value)
            yield Obstacle(field=name, value=told), replace(wanted, **{name: None})
    for name, field in (("tags", "tag"), ("metrics", "metric")):
        values: tuple[str, ...] = getattr(wanted, name)
        for value in values:
            others = tuple(each for each in values if each != value)
            yield Obstacle(field=field, value=value), replace(wanted, **{name: others})
    if not wanted.all_versions and wanted.alias is None and wanted.status in (None, "usable"):
        yield Obstacle(field="all_versions", value="false"), replace(wanted, all_versions=True)
