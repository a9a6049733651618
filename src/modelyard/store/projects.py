"""Projects: named groups of models, endpoints, remotes, uploads and jobs; whose a thing is.

Nothing points from one project into another: an endpoint is of the project of its models, versions were made from
versions of their own project, a fallback is an endpoint of the same one. What is moved takes all of that along.
"""

import builtins
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, delete, func, insert, or_, select, union, update

from modelyard.core.access import DEFAULT_PROJECT, Project
from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Conflict, NotFound
from modelyard.core.names import check_name
from modelyard.store import tables
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.nouns import unpack

OWNED: Final = (tables.models, tables.endpoints, tables.remotes, tables.jobs, tables.uploads)
_projects: Final = tables.projects


class Projects:
    """The projects of one database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._audit = Audit(database, clock)

    def create(self, name: str, *, who: str = "system", why: str = "") -> Project:
        """Raises InvalidInput for a name that cannot be one, Conflict when there is such a project."""
        check_name(name, field="project")
        with self._database.begin() as session:
            if exists(session, name):
                raise Conflict(f"There is a project {name!r} already.", field="project")
            session.execute(insert(_projects).values(name=name, created=self._clock(), who=who))
            self._audit.record(who, "project.create", name, why, session, project=name)
        return self.get(name)

    def list(self) -> builtins.list[Project]:
        """All projects, the one that is always there first, the others by name."""
        with self._database.session() as session:
            rows = session.execute(select(_projects).order_by(_projects.c.name)).all()
            counts = [_counts(session, table) for table in (tables.models, tables.api_keys)]
            endpoints = _endpoint_counts(session)
        found = [
            Project(name=DEFAULT_PROJECT),
            *(Project(name=row.name, created=row.created, who=row.who) for row in rows),
        ]
        return [
            Project(
                name=each.name,
                created=each.created,
                who=each.who,
                models=counts[0].get(each.name, 0),
                keys=counts[1].get(each.name, 0),
                endpoints=endpoints.get(each.name, 0),
            )
            for each in found
        ]

    def get(self, name: str) -> Project:
        """Raises NotFound."""
        for project in self.list():
            if project.name == name:
                return project
        raise no_project(name)

    def require(self, name: str) -> str:
        """``name``, if there is such a project. Raises NotFound."""
        with self._database.session() as session:
            if not exists(session, name):
                raise no_project(name)
        return name

    def delete(self, name: str, *, who: str = "system", why: str = "") -> None:
        """Delete an empty project; its keys that open nothing any more go with it, and so do jobs that have ended.

        Raises NotFound, and Conflict for the one that is always there and while anything is in it.
        """
        if name == DEFAULT_PROJECT:
            raise Conflict(
                f"The project {DEFAULT_PROJECT!r} is always there; it cannot be deleted.", field="project"
            )
        now = self._clock()
        with self._database.begin() as session:
            if not exists(session, name):
                raise no_project(name)
            if kept := _contents(session, name, now):
                raise Conflict(
                    f"The project {name!r} has {kept}; delete or move that first.", field="project"
                )
            jobs = select(tables.jobs.c.number).where(tables.jobs.c.project == name)
            session.execute(delete(tables.job_events).where(tables.job_events.c.job_number.in_(jobs)))
            session.execute(delete(tables.jobs).where(tables.jobs.c.project == name))
            session.execute(delete(tables.api_keys).where(tables.api_keys.c.project == name))
            session.execute(delete(_projects).where(_projects.c.name == name))
            self._audit.record(who, "project.delete", name, why, session, project=name)

    def move(self, model: str, to: str, *, who: str = "system", why: str = "") -> builtins.list[str]:
        """Move a model with its endpoints, their remotes and jobs to another project; the names of the endpoints.

        Raises NotFound, and Conflict while something would be left behind that it is bound to: another model of an
        endpoint, a version made from one of its own, a fallback.
        """
        with self._database.begin() as session:
            if not exists(session, to):
                raise no_project(to)
            former = of_model(session, model)
            if former is None:
                raise NotFound(f"There is no model {model!r}.", field="model")
            endpoints = _endpoints_of(session, model)
            if former == to:
                return endpoints
            _refuse_bonds(session, model, endpoints)
            of_endpoints = (tables.endpoints.c.name, tables.remotes.c.endpoint, tables.jobs.c.subject)
            session.execute(update(tables.models).where(tables.models.c.name == model).values(project=to))
            for column in of_endpoints:
                moved = update(column.table).where(column.in_(endpoints)).values(project=to)  # pyright: ignore[reportArgumentType]
                session.execute(moved)
            told = f"from {former} to {to}{': ' + why if why else ''}"
            # Told in both; what nodes may show to which key has changed.
            self._audit.record(who, "model.leave", model, told, session, project=former)
            self._audit.record_wanted(who, "model.move", model, told, session, project=to)
        return endpoints

    # --- whose a thing is; None: there is no such thing

    def of_model(self, name: str) -> str | None:
        """The project of a model."""
        with self._database.session() as session:
            return of_model(session, name)

    def of_endpoint(self, name: str) -> str | None:
        """The project of an endpoint, deployed or of remotes alone."""
        with self._database.session() as session:
            return of_endpoint(session, name)

    def of_job(self, id: str) -> str | None:
        """The project of a job."""
        with self._database.session() as session:
            return session.execute(select(tables.jobs.c.project).where(tables.jobs.c.id == id)).scalar()

    def of_upload(self, id: str) -> str | None:
        """The project of an upload."""
        with self._database.session() as session:
            return session.execute(
                select(tables.uploads.c.project).where(tables.uploads.c.id == id)
            ).scalar()

    def of_deployment(self, id: str) -> str | None:
        """The project of a deployment."""
        query = (
            select(tables.endpoints.c.project)
            .join(tables.deployments, tables.deployments.c.endpoint_id == tables.endpoints.c.id)
            .where(tables.deployments.c.id == id)
        )
        with self._database.session() as session:
            return session.execute(query).scalar()

    def models(self, project: str) -> set[str]:
        """The names of the models of a project."""
        with self._database.session() as session:
            return set(
                session.execute(
                    select(tables.models.c.name).where(tables.models.c.project == project)
                ).scalars()
            )

    def endpoints(self, project: str) -> set[str]:
        """The names of the endpoints of a project, deployed and of remotes."""
        with self._database.session() as session:
            return set(
                session.execute(
                    union(
                        select(tables.endpoints.c.name).where(tables.endpoints.c.project == project),
                        select(tables.remotes.c.endpoint).where(tables.remotes.c.project == project),
                    )
                ).scalars()
            )

    def environments(self, project: str) -> set[str]:
        """The ids of the environments that deployments of a project have."""
        query = (
            select(tables.deployments.c.environment)
            .join(tables.endpoints, tables.endpoints.c.id == tables.deployments.c.endpoint_id)
            .where(tables.endpoints.c.project == project, tables.deployments.c.environment.is_not(None))
        )
        with self._database.session() as session:
            return {str(id) for id in session.execute(query.distinct()).scalars()}


def no_project(name: str) -> NotFound:
    """The error for a project that there is not, or not for who asks."""
    return NotFound(f"There is no project {name!r}; see: modelyard projects list", field="project")


def taken(name: str, field: str) -> Conflict:
    """The error for a name that is in use where who asks may not see it."""
    return Conflict(f"The name {name!r} is taken; choose another one.", field=field)


def exists(session: Connection, name: str) -> bool:
    """Whether there is such a project."""
    if name == DEFAULT_PROJECT:
        return True
    return session.execute(select(_projects.c.name).where(_projects.c.name == name)).first() is not None


def of_model(session: Connection, name: str) -> str | None:
    """The project of a model; None when there is no such model."""
    return session.execute(select(tables.models.c.project).where(tables.models.c.name == name)).scalar()


def of_endpoint(session: Connection, name: str) -> str | None:
    """The project that has the name of an endpoint, deployed or of remotes; None when none has."""
    for column, project in (
        (tables.endpoints.c.name, tables.endpoints.c.project),
        (tables.remotes.c.endpoint, tables.remotes.c.project),
    ):
        found = session.execute(select(project).where(column == name)).scalar()
        if found is not None:
            return found
    return None


def _counts(session: Connection, table: tables.Table) -> dict[str, int]:
    query = select(table.c.project, func.count()).group_by(table.c.project)
    if table is tables.api_keys:
        query = query.where(tables.api_keys.c.revoked.is_(None))
    return {str(project): count for project, count in session.execute(query)}


def _endpoint_counts(session: Connection) -> dict[str, int]:
    names = union(
        select(tables.endpoints.c.name, tables.endpoints.c.project),
        select(tables.remotes.c.endpoint, tables.remotes.c.project),
    ).subquery()
    query = select(names.c.project, func.count()).group_by(names.c.project)
    return {str(project): count for project, count in session.execute(query)}


def _contents(session: Connection, name: str, now: float) -> str:
    """What is in a project, in words; empty when nothing is."""
    living = or_(tables.api_keys.c.expires.is_(None), tables.api_keys.c.expires > now)
    found: builtins.list[str] = []
    for noun, table, *conditions in (
        ("models", tables.models),
        ("endpoints", tables.endpoints),
        ("remotes", tables.remotes),
        ("uploads", tables.uploads),
        ("jobs under way", tables.jobs, tables.jobs.c.state.in_(("queued", "running"))),
        ("keys", tables.api_keys, tables.api_keys.c.revoked.is_(None), living),
    ):
        query = select(func.count()).select_from(table).where(table.c.project == name, *conditions)
        if count := session.execute(query).scalar_one():
            found.append(
                f"{count} {noun if count > 1 else noun.replace('s', '', 1) if noun != 'remotes' else noun}"
            )
    return ", ".join(found)


def _endpoints_of(session: Connection, model: str) -> builtins.list[str]:
    """The endpoints that have or had a revision of a model."""
    query = (
        select(tables.endpoints.c.name)
        .join(tables.deployments, tables.deployments.c.endpoint_id == tables.endpoints.c.id)
        .where(tables.deployments.c.model == model)
        .distinct()
        .order_by(tables.endpoints.c.name)
    )
    return list(session.execute(query).scalars())


def _refuse_bonds(session: Connection, model: str, endpoints: builtins.list[str]) -> None:
    deployments, of = tables.deployments, tables.endpoints
    query = (
        select(of.c.name, deployments.c.model)
        .join(deployments, deployments.c.endpoint_id == of.c.id)
        .where(of.c.name.in_(endpoints), deployments.c.model != model)
    )
    for row in session.execute(query.order_by(of.c.name)).all():
        raise Conflict(
            f"The endpoint {row.name!r} of {model!r} has revisions of {row.model!r}, too; delete it first, or deploy "
            "each model to an endpoint of its own.",
            field="model",
        )
    for row in session.execute(select(of.c.name, deployments.c.settings_json).join(deployments)).all():
        fallback = unpack(row.settings_json, DeploymentSettings).serving.fallback
        if fallback is not None and (row.name in endpoints) != (fallback in endpoints):
            raise Conflict(
                f"{fallback!r} is the fallback of {row.name!r}; deploy that one without a fallback, or delete it, "
                "before one of the two moves.",
                field="model",
            )
    child, parent = tables.versions.alias(), tables.versions.alias()
    child_model, parent_model = tables.models.alias(), tables.models.alias()
    bonds = (
        select(child_model.c.name.label("child"), parent_model.c.name.label("parent"))
        .select_from(tables.lineage)
        .join(child, child.c.id == tables.lineage.c.version_id)
        .join(parent, parent.c.id == tables.lineage.c.parent_id)
        .join(child_model, child_model.c.id == child.c.model_id)
        .join(parent_model, parent_model.c.id == parent.c.model_id)
        .where(
            child_model.c.id != parent_model.c.id,
            or_(child_model.c.name == model, parent_model.c.name == model),
        )
    )
    for row in session.execute(bonds).all():
        raise Conflict(
            f"Versions of {row.child!r} were made from versions of {row.parent!r}; say that they were not before one of "
            "the two moves.",
            field="model",
        )
