"""Endpoints and their deployments: what is wanted, what has the traffic, and how they came there."""

import builtins
import time
from collections.abc import Callable, Collection
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.deployment import Deployment, DeploymentSettings, DeploymentState, Endpoint
from modelyard.core.errors import Conflict, NotFound
from modelyard.core.names import check_name
from modelyard.store import projects, tables
from modelyard.store.audit import WANTED, Audit
from modelyard.store.database import Database
from modelyard.store.nouns import new_id, pack, unpack, without_nul
from modelyard.store.places import move_here, require_here
from modelyard.store.version_rows import is_deleted

_ENDED: Final = ("failed", "retired")

_deployments = select(tables.deployments, tables.endpoints.c.name.label("endpoint")).join(tables.endpoints)
_endpoints = select(tables.endpoints, tables.traffic.c.wanted, tables.traffic.c.serving).join(
    tables.traffic, tables.traffic.c.endpoint_id == tables.endpoints.c.id
)


class Endpoints:
    """The endpoints and deployments of one database.

    Where several homes share it an endpoint is of one of them, whose node serves it; ``home`` is the one
    here, and ``gone`` tells those that are not there any more.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        *,
        home: str | None = None,
        gone: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._database = database
        self._clock = clock
        self._home = home
        self._gone = gone
        self._audit = Audit(database, clock)

    def deploy(
        self,
        endpoint: str,
        model: str,
        version: int,
        settings: DeploymentSettings,
        environment: str | None,
        *,
        who: str = "system",
        why: str = "",
        fence: Callable[[Connection], None] = lambda session: None,
    ) -> Deployment:
        """A new revision that the endpoint now wants; the endpoint is made when there is none.

        When the wanted one is the same in everything and has not failed, it is that one. An endpoint of
        a home that is gone moves here. ``fence`` is called first, in the transaction, to raise when the
        caller may not do it any more. Raises NotFound when there is no such version, InvalidInput for a
        name that cannot be one, Conflict for a version that is deleted, an endpoint of another home that lives, and
        one of another project than the model's: it is of its project.
        """
        check_name(endpoint, field="endpoint")
        gone = self._gone() if self._home is not None else ()
        with self._database.begin(WANTED) as session:
            fence(session)
            self._require_version(session, model, version)
            move_here(session, endpoint, self._home, gone, self._audit, who)
            found = self._find(session, endpoint)
            project = projects.of_model(session, model) or DEFAULT_PROJECT
            if projects.of_endpoint(session, endpoint) not in (None, project):
                raise projects.taken(endpoint, "endpoint")
            if found is not None:
                wanted = self._deployment(session, found.wanted)
                if (
                    wanted.state not in _ENDED
                    and (wanted.model, wanted.version) == (model, version)
                    and (wanted.settings, wanted.environment) == (settings, environment)
                ):
                    return wanted
                # Under way, it is told by the reconciler; ready but without traffic, by nobody else.
                if wanted.state == "ready" and found.serving != wanted.id:
                    self._set(session, wanted.id, "retired", "Replaced before it had the traffic.")
            endpoint_id = found.id if found is not None else self._create(session, endpoint, who, project)
            deployment = Deployment(
                id=new_id(),
                endpoint=endpoint,
                revision=self._last_revision(session, endpoint_id) + 1,
                model=model,
                version=version,
                settings=settings,
                state="pending",
                environment=environment,
                created=self._clock(),
            )
            session.execute(
                insert(tables.deployments).values(
                    id=deployment.id,
                    endpoint_id=endpoint_id,
                    revision=deployment.revision,
                    model=model,
                    version=version,
                    settings_json=pack(settings),
                    state=deployment.state,
                    environment=environment,
                    created=deployment.created,
                )
            )
            if found is None:
                session.execute(
                    insert(tables.traffic).values(endpoint_id=endpoint_id, wanted=deployment.id)
                )
            else:
                self._point(session, endpoint_id, wanted=deployment.id)
            what = f"revision {deployment.revision} ({deployment.id}) of {model} version {version}"
            reason = f"{what}: {why}" if why else what
            self._audit.record_wanted(who, "deployment.create", endpoint, reason, session)
        return deployment

    def get(self, name: str) -> Endpoint:
        """Raises NotFound."""
        with self._database.session() as session:
            return _endpoint(self._require(session, name))

    def list(self) -> builtins.list[Endpoint]:
        """All endpoints, the oldest first."""
        with self._database.session() as session:
            return [_endpoint(row) for row in session.execute(_endpoints.order_by(tables.endpoints.c.id))]

    def require_here(self, name: str) -> None:
        """Raises Conflict when :meth:`deploy` would, because another home serves an endpoint of this name."""
        gone = self._gone() if self._home is not None else ()
        with self._database.session() as session:
            require_here(session, name, self._home, gone)

    def deployments(
        self, endpoint: str | None = None, *, project: str | None = None
    ) -> builtins.list[Deployment]:
        """All revisions, of one endpoint or of one project when it is named; by endpoint's age and revision."""
        query = _deployments.order_by(tables.deployments.c.endpoint_id, tables.deployments.c.revision)
        if endpoint is not None:
            query = query.where(tables.endpoints.c.name == endpoint)
        if project is not None:
            query = query.where(tables.endpoints.c.project == project)
        with self._database.session() as session:
            return [_noun(row) for row in session.execute(query)]

    def snapshot(self, *, here: bool = False) -> tuple[builtins.list[Endpoint], builtins.list[Deployment]]:
        """All endpoints (with ``here`` those that this home serves) and all deployments, as they were at one
        moment."""
        query = _endpoints.order_by(tables.endpoints.c.id)
        if here and self._home is not None:
            query = query.where(tables.endpoints.c.home == self._home)
        with self._database.session() as session:
            endpoints = session.execute(query).all()
            deployments = session.execute(
                _deployments.order_by(tables.deployments.c.endpoint_id, tables.deployments.c.revision)
            )
            return [_endpoint(row) for row in endpoints], [_noun(row) for row in deployments]

    def current(self, environment: str) -> builtins.list[Deployment]:
        """Of what the endpoints of this home want and serve, unless it has failed, that which has an environment; the
        oldest endpoint's first."""
        query = self._current(tables.deployments, tables.endpoints.c.name.label("endpoint"))
        query = query.where(tables.deployments.c.environment == environment)
        query = query.order_by(tables.endpoints.c.id, tables.deployments.c.revision)
        with self._database.session() as session:
            return [_noun(row) for row in session.execute(query)]

    def environments(self) -> builtins.list[str]:
        """Those that :meth:`current` deployments have; that of the oldest endpoint first."""
        name = tables.deployments.c.environment
        query = self._current(name).where(name.is_not(None)).group_by(name)
        query = query.order_by(func.min(tables.endpoints.c.id))
        with self._database.session() as session:
            return [row[0] for row in session.execute(query)]

    def _current(self, *columns: Any) -> Select[*tuple[Any, ...]]:
        deployments, traffic = tables.deployments, tables.traffic
        points = traffic.c.endpoint_id == deployments.c.endpoint_id
        query = (
            select(*columns)
            .select_from(deployments.join(tables.endpoints).join(traffic, points))
            .where(deployments.c.id.in_((traffic.c.wanted, traffic.c.serving)))
            .where(deployments.c.state != "failed")
        )
        return query if self._home is None else query.where(tables.endpoints.c.home == self._home)

    def deployment(self, id: str) -> Deployment:
        """Raises NotFound."""
        with self._database.session() as session:
            return self._deployment(session, id)

    def serves_here(self, id: str) -> bool:
        """Whether a deployment is of an endpoint of this home; also when it is gone."""
        owner = (
            select(tables.endpoints.c.home)
            .join(tables.deployments, tables.deployments.c.endpoint_id == tables.endpoints.c.id)
            .where(tables.deployments.c.id == id)
        )
        with self._database.session() as session:
            row = session.execute(owner).one_or_none()
        return self._home is None or row is None or row.home == self._home

    def set_state(
        self, deployment_id: str, state: DeploymentState, reason: str | None = None, *, who: str = "system"
    ) -> None:
        """Record what became of a deployment. Raises NotFound, and Conflict when a deployment that has
        ended would live again, or the one that has the traffic would be retired."""
        with self._database.begin(WANTED) as session:
            deployment = self._deployment(session, deployment_id)
            if (deployment.state, deployment.reason) == (state, reason):
                return
            if deployment.state in _ENDED and state not in _ENDED:
                raise Conflict(
                    f"Revision {deployment.revision} of {deployment.endpoint!r} is {deployment.state} and "
                    f"cannot be {state} again; deploy it anew."
                )
            if state == "retired" and self._require(session, deployment.endpoint).serving == deployment_id:
                raise Conflict(
                    f"Revision {deployment.revision} of {deployment.endpoint!r} has the traffic; move that "
                    "before it is retired."
                )
            self._set(session, deployment_id, state, reason)
            what = f"revision {deployment.revision} ({deployment_id})"
            why = f"{what}: {reason}" if reason else what
            self._audit.record_wanted(who, f"deployment.{state}", deployment.endpoint, why, session)

    def serve(self, endpoint: str, deployment_id: str, *, who: str = "system") -> None:
        """The traffic has moved to a deployment; the former one is retired.

        Raises NotFound, and Conflict for a deployment that has ended or is another endpoint's.
        """
        with self._database.begin(WANTED) as session:
            found = self._require(session, endpoint)
            deployment = self._deployment(session, deployment_id)
            if deployment.endpoint != endpoint:
                raise Conflict(
                    f"The deployment {deployment_id} is {deployment.endpoint!r}'s, not {endpoint!r}'s."
                )
            if deployment.state in _ENDED:
                raise Conflict(
                    f"Revision {deployment.revision} of {endpoint!r} is {deployment.state} and cannot take "
                    "the traffic."
                )
            if found.serving == deployment_id:
                return
            self._set(session, deployment_id, "ready", None)
            self._point(session, found.id, serving=deployment_id)
            why = f"revision {deployment.revision} ({deployment_id})"
            if found.serving is not None:
                former = self._deployment(session, found.serving)
                self._set(session, former.id, "retired", f"Replaced by revision {deployment.revision}.")
                if found.wanted == former.id:
                    # A wanted one that is retired would never be brought back.
                    self._point(session, found.id, wanted=deployment_id)
                why = f"{why} in place of revision {former.revision} ({former.id})"
            self._audit.record_wanted(who, "endpoint.serve", endpoint, why, session)

    def move_to(
        self,
        deployment_id: str,
        environment: str,
        why: str,
        *,
        other: str | None = None,
        who: str = "system",
    ) -> None:
        """A deployment has another environment from now on, because its own could not be had any more; ``other`` says
        what is not in it as it was, and stands with the deployment. Raises NotFound."""
        with self._database.begin(WANTED) as session:
            deployment = self._deployment(session, deployment_id)
            if deployment.environment == environment:
                return
            one = tables.deployments.c.id == deployment_id
            values = {"environment": environment} | (
                {} if other is None else {"reason": without_nul(other)}
            )
            session.execute(update(tables.deployments).where(one).values(values))
            what = f"revision {deployment.revision} ({deployment_id}): {why}"
            self._audit.record_wanted(who, "deployment.environment", deployment.endpoint, what, session)

    def revert(self, endpoint: str, *, who: str = "system", why: str = "") -> None:
        """Want what has the traffic, after a rollout failed. Raises NotFound, and Conflict when
        nothing has the traffic."""
        with self._database.begin(WANTED) as session:
            found = self._require(session, endpoint)
            if found.serving is None:
                raise Conflict(
                    f"The endpoint {endpoint!r} has nothing to go back to; nothing serves it yet."
                )
            if found.wanted == found.serving:
                return
            left = self._deployment(session, found.wanted)
            self._point(session, found.id, wanted=found.serving)
            if left.state == "ready":
                self._set(session, left.id, "retired", "Taken back before it had the traffic.")
            reason = why or f"revision {left.revision} ({left.id}) is not wanted any more"
            self._audit.record_wanted(who, "endpoint.revert", endpoint, reason, session)

    def delete(self, endpoint: str, *, who: str = "system", why: str = "") -> None:
        """Delete an endpoint, its deployments and its remotes. Raises NotFound when it has none of them."""
        with self._database.begin(WANTED) as session:
            far = tables.remotes.c.endpoint == endpoint
            if session.execute(select(far).where(far)).first() is not None:
                self._audit.record_wanted(who, "remotes.delete", endpoint, why, session)
                session.execute(delete(tables.remotes).where(far))
                if self._find(session, endpoint) is None:
                    return
            found = self._require(session, endpoint)
            self._audit.record_wanted(who, "endpoint.delete", endpoint, why, session)
            # First what points, then what is pointed at.
            session.execute(delete(tables.traffic).where(tables.traffic.c.endpoint_id == found.id))
            session.execute(delete(tables.endpoints).where(tables.endpoints.c.id == found.id))

    def default(self) -> str | None:
        """The oldest endpoint here, which answers calls that name none; None when there is none."""
        with self._database.session() as session:
            oldest = select(tables.endpoints.c.name).order_by(
                tables.endpoints.c.created, tables.endpoints.c.id
            )
            if self._home is not None:
                oldest = oldest.where(tables.endpoints.c.home == self._home)
            return session.execute(oldest.limit(1)).scalar()

    def generation(self) -> int:
        """Grows with every change of an endpoint or a deployment."""
        with self._database.session() as session:
            return session.execute(
                select(tables.counters.c.value).where(tables.counters.c.name == "generation")
            ).scalar_one()

    def _create(self, session: Connection, name: str, who: str, project: str) -> int:
        values = {"name": name, "created": self._clock(), "home": self._home, "project": project}
        made = session.execute(insert(tables.endpoints).values(values))
        self._audit.record(who, "endpoint.create", name, "", session)
        (id,) = made.inserted_primary_key or (None,)
        assert isinstance(id, int)
        return id

    def _find(self, session: Connection, name: str) -> Row[Any] | None:
        return session.execute(_endpoints.where(tables.endpoints.c.name == name)).one_or_none()

    def _require(self, session: Connection, name: str) -> Row[Any]:
        row = self._find(session, name)
        if row is None:
            raise NotFound(f"There is no endpoint {name!r}.", field="endpoint")
        return row

    def _deployment(self, session: Connection, id: str) -> Deployment:
        row = session.execute(_deployments.where(tables.deployments.c.id == id)).one_or_none()
        if row is None:
            raise NotFound(f"There is no deployment {id!r}.", field="deployment")
        return _noun(row)

    @staticmethod
    def _require_version(session: Connection, model: str, version: int) -> None:
        query = (
            select(tables.versions.c.id, is_deleted().label("deleted"))
            .join(tables.models)
            .where(tables.models.c.name == model, tables.versions.c.number == version)
        )
        row = session.execute(query).first()
        if row is None:
            raise NotFound(f"There is no version {version} of a model {model!r}.", field="version")
        if row.deleted:
            raise Conflict(f"{model}/{version} is deleted; restore it first.", field="version")

    @staticmethod
    def _last_revision(session: Connection, endpoint_id: int) -> int:
        last = select(func.max(tables.deployments.c.revision)).where(
            tables.deployments.c.endpoint_id == endpoint_id
        )
        return session.execute(last).scalar() or 0

    @staticmethod
    def _set(session: Connection, id: str, state: str, reason: str | None) -> None:
        session.execute(
            update(tables.deployments)
            .where(tables.deployments.c.id == id)
            .values(state=state, reason=None if reason is None else without_nul(reason))
        )

    @staticmethod
    def _point(session: Connection, endpoint_id: int, **columns: str) -> None:
        session.execute(
            update(tables.traffic).where(tables.traffic.c.endpoint_id == endpoint_id).values(columns)
        )


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(
        name=row.name,
        wanted=row.wanted,
        serving=row.serving,
        created=row.created,
        home=row.home,
        project=row.project,
    )


def _noun(row: Row[Any]) -> Deployment:
    return Deployment(
        id=row.id,
        endpoint=row.endpoint,
        revision=row.revision,
        model=row.model,
        version=row.version,
        settings=unpack(row.settings_json, DeploymentSettings),
        state=row.state,
        environment=row.environment,
        reason=row.reason,
        created=row.created,
    )
