"""The node's copy of the table of routes: kept on disk, so that it serves before anybody tells it."""

import logging
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from modelyard.core.routes import Pool, Route, RouteTable
from modelyard.host.files import write_whole

log = logging.getLogger("modelyard.table")
_T = TypeVar("_T")


def load(path: Path) -> RouteTable:
    """The kept table; an empty one when there is none, or when it cannot be read (said in the log)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RouteTable)
    except FileNotFoundError:
        return RouteTable()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.error("the kept table of routes cannot be read", extra={"path": str(path), "error": str(error)})
        return RouteTable()


def shared(table: RouteTable, former: RouteTable) -> RouteTable:
    """The same with equal parts as one object, and the pools of ``former`` that did not change as they are there: of a
    thousand pools most differ in name, version and files alone, and each part of a decoded table is an object."""
    before = {pool.deployment: pool for pool in former.pools}
    parts = _Parts()
    pools: list[Pool] = []
    for pool in former.pools:
        parts.of_pool(pool)
    for pool in table.pools:
        known = before.get(pool.deployment)
        pools.append(known if known is not None and known == pool else parts.of_pool(pool))
    routes = tuple(parts.of_route(route) for route in table.routes)
    return replace(table, pools=tuple(pools), routes=routes)


class _Parts:
    """The parts that were met, each once."""

    def __init__(self) -> None:
        self._met: dict[Any, Any] = {}

    def of_pool(self, pool: Pool) -> Pool:
        executor = pool.executor
        return replace(
            pool,
            deployment=self._one(pool.deployment),
            endpoint=self._one(pool.endpoint),
            model=self._one(pool.model),
            executor=replace(
                executor,
                python=self._one(executor.python),
                adapter=self._one(executor.adapter),
                options={name: self._json(value) for name, value in executor.options.items()},
            ),
            resources=self._one(pool.resources),
            scaling=self._one(pool.scaling),
            serving=self._one(pool.serving),
            leave=self._one(pool.leave),
            signature=self._one(pool.signature),
        )

    def of_route(self, route: Route) -> Route:
        return replace(
            route,
            endpoint=self._one(route.endpoint),
            deployment=self._one(route.deployment),
            retry=self._one(route.retry),
            serving=self._one(route.serving),
        )

    def _one(self, value: _T) -> _T:
        return self._met.setdefault(value, value)

    def _json(self, value: Any) -> Any:
        """What JSON has; a list or an object is known by its text."""
        if not isinstance(value, dict | list):
            return value
        return self._met.setdefault(msgspec.json.encode(value), value)


def save(path: Path, table: RouteTable) -> None:
    """Replace the kept table: whole or not at all. Raises OSError (a full disk)."""
    write_whole(path, msgspec.json.encode(table), durable=True)
