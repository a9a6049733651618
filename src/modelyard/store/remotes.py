"""The remotes of endpoints, one row a name."""

import builtins
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace
from sqlalchemy import Connection, delete, insert, select, update

from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.errors import NotFound
from modelyard.core.names import check_name
from modelyard.core.remotes import RemoteRoute, canonical_url, check_remote_route, without
from modelyard.core.routes import Remote
from modelyard.store import projects, tables
from modelyard.store.audit import WANTED, Audit
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack
from modelyard.store.places import home_of

_remotes: Final = tables.remotes


class Remotes:
    """The remotes in one database. A change of them is a change of the generation of ``Endpoints``.

    They are of the home that serves the endpoint; where there is none, of ``home``, the one here.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float] = time.time, *, home: str | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._home = home
        self._audit = Audit(database, clock)

    def put(self, route: RemoteRoute, *, who: str = "system", project: str | None = None) -> RemoteRoute:
        """Set all remotes of one endpoint; what it had before goes. A name that is new is of ``project`` (None: of
        the one that is always there). Raises InvalidInput, Conflict for a name of another project."""
        route = replace(route, remotes=tuple(map(_canonical, route.remotes)))
        with self._database.begin(WANTED) as session:
            self._write(session, route, who, project)
        return route

    def add(
        self, endpoint: str, remote: Remote, *, who: str = "system", project: str | None = None
    ) -> RemoteRoute:
        """One more remote, or another form of the one with its URL and model. Raises as :meth:`put`."""
        remote = _canonical(remote)
        with self._database.begin(WANTED) as session:
            text = self._find(session, endpoint)
            route = (
                unpack(text, RemoteRoute)
                if text is not None
                else RemoteRoute(endpoint=endpoint, remotes=())
            )
            route = replace(route, remotes=(*without(route, remote.url, remote.model), remote))
            self._write(session, route, who, project)
        return route

    def change(
        self, endpoint: str, weight: float | None, retry: Mapping[str, Any], *, who: str = "system"
    ) -> RemoteRoute:
        """Another share of the deployment, other fields of the RetryOptions; the rest stays. Raises NotFound."""
        with self._database.begin(WANTED) as session:
            route = self._require(session, endpoint)
            share = route.weight if weight is None else weight
            route = replace(route, weight=share, retry=replace(route.retry, **retry))
            self._write(session, route, who)
        return route

    def remove(self, endpoint: str, url: str, model: str | None = None, *, who: str = "system") -> None:
        """Take away the remotes at ``url`` (asked for ``model``). Raises NotFound when there is none."""
        with self._database.begin(WANTED) as session:
            route = self._require(session, endpoint)
            left = without(route, url, model)
            if len(left) == len(route.remotes):
                named = "" if model is None else f" for the model {model!r}"
                raise NotFound(f"{endpoint!r} has no remote at {url}{named}.", field="url")
            if left:
                self._write(session, replace(route, remotes=left), who)
            else:
                self._delete(session, endpoint, who)

    def delete(self, endpoint: str, *, who: str = "system") -> None:
        """The endpoint has no remotes any more. Raises NotFound when it had none."""
        with self._database.begin(WANTED) as session:
            self._require(session, endpoint)
            self._delete(session, endpoint, who)

    def get(self, endpoint: str) -> RemoteRoute:
        """Raises NotFound when the endpoint has no remotes."""
        with self._database.session() as session:
            return self._require(session, endpoint)

    def list(self, *, here: bool = False, project: str | None = None) -> builtins.list[RemoteRoute]:
        """Those of all endpoints, or of one project's, the oldest first; with ``here`` those that this home's node
        routes to."""
        query = select(_remotes.c.route_json).order_by(_remotes.c.created, _remotes.c.endpoint)
        if here and self._home is not None:
            query = query.where(_remotes.c.home == self._home)
        if project is not None:
            query = query.where(_remotes.c.project == project)
        with self._database.session() as session:
            return [unpack(text, RemoteRoute) for text in session.execute(query).scalars()]

    @staticmethod
    def _find(session: Connection, endpoint: str) -> str | None:
        query = select(_remotes.c.route_json).where(_remotes.c.endpoint == endpoint)
        return session.execute(query).scalar_one_or_none()

    def _require(self, session: Connection, endpoint: str) -> RemoteRoute:
        text = self._find(session, endpoint)
        if text is None:
            raise NotFound(
                f"The endpoint {endpoint!r} has no remotes; see: modelyard remotes list", field="endpoint"
            )
        return unpack(text, RemoteRoute)

    def _write(self, session: Connection, route: RemoteRoute, who: str, project: str | None = None) -> None:
        check_name(route.endpoint, field="endpoint")
        check_remote_route(route)
        owner = projects.of_endpoint(session, route.endpoint)
        if owner is not None and project not in (None, owner):
            raise projects.taken(route.endpoint, "endpoint")
        text, former = pack(route), self._find(session, route.endpoint)
        if former == text:
            return
        if former is None:
            if not projects.exists(session, project or DEFAULT_PROJECT):
                raise projects.no_project(project or DEFAULT_PROJECT)
            taken, home = home_of(session, route.endpoint)
            values = {
                "endpoint": route.endpoint,
                "route_json": text,
                "created": self._clock(),
                "home": home if taken else self._home,
                "project": owner or project or DEFAULT_PROJECT,
            }
            session.execute(insert(_remotes).values(values))
        else:
            same = _remotes.c.endpoint == route.endpoint
            session.execute(update(_remotes).where(same).values(route_json=text))
        said = ", ".join(f"{remote.url} ({remote.model})" for remote in route.remotes)
        self._audit.record_wanted(who, "remotes.set", route.endpoint, said, session)

    def _delete(self, session: Connection, endpoint: str, who: str) -> None:
        self._audit.record_wanted(who, "remotes.delete", endpoint, "", session)
        session.execute(delete(_remotes).where(_remotes.c.endpoint == endpoint))


def _canonical(remote: Remote) -> Remote:
    return replace(remote, url=canonical_url(remote.url))
