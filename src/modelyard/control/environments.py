"""Environments as people see them, and the end of those that nobody needs any more."""

import time

from modelyard.control.answers import (
    EnvironmentAnswer,
    EnvironmentFreed,
    EnvironmentsAnswer,
    EnvironmentUser,
)
from modelyard.control.platform import Platform
from modelyard.core.access import EVERYBODY, Principal
from modelyard.core.deployment import Deployment
from modelyard.core.errors import Unavailable
from modelyard.package.environment import Environment, Links


def describe(platform: Platform, id: str, by: Principal = EVERYBODY) -> EnvironmentAnswer:
    """One environment, and who of what ``by`` sees uses it. Raises NotFound."""
    return _describe(platform, platform.environments.get(id), _current(platform, by.project))


def describe_all(platform: Platform, by: Principal = EVERYBODY) -> list[EnvironmentAnswer]:
    """All environments, or those that deployments of the project that ``by`` sees have; the oldest first."""
    current = _current(platform, by.project)
    seen = None if by.project is None else platform.projects.environments(by.project)
    return [
        _describe(platform, environment, current)
        for environment in platform.environments.list()
        if seen is None or environment.id in seen
    ]


def clean(platform: Platform, *, older_than: float, dry_run: bool = False) -> EnvironmentsAnswer:
    """Remove every environment that no deployment, replica or job needs, that no process builds or tries, and
    that was not asked for within ``older_than`` seconds, also one whose interpreter is gone; with ``dry_run``
    only say which.

    Raises Unavailable when it cannot be told what is in use.
    """
    removed: list[EnvironmentFreed] = []
    used: list[str] = []
    recent: list[str] = []
    busy: list[str] = []
    environments, seen = platform.environments, Links()
    # A deployment is created under the same lock, and makes sure there that its environment still is.
    with platform.changes:
        needed = in_use(platform)
        now = time.time()
        listed = environments.list()
        sizes = {each.id: each.size for each in listed}
        for id, since in [*((each.id, each.created) for each in listed), *environments.remains()]:
            if id in needed:
                environments.touch(id)
                used.append(id)
                continue
            last_used = max(since, environments.last_used(id) or 0.0)
            if now - last_used < older_than:
                recent.append(id)
                continue
            freed = environments.freed_by(id, seen) if dry_run else environments.remove_if_free(id)
            if freed is None:
                busy.append(id)
            else:
                size = max(freed, sizes.get(id, 0))
                removed.append(EnvironmentFreed(id=id, size=size, freed=freed, last_used=last_used))
    return EnvironmentsAnswer(
        removed=tuple(removed),
        used=tuple(used),
        recent=tuple(recent),
        busy=tuple(busy),
        freed=sum(each.freed for each in removed),
    )


def in_use(platform: Platform) -> set[str]:
    """The environments of what is wanted, of what the node runs (what drains, too), and of jobs on their way.

    Raises Unavailable when the node does not answer, or drains what was deleted.
    """
    status = platform.node_status()
    if status is None:
        raise Unavailable(
            "The node does not answer, so nobody knows which environments its replicas run in; nothing was removed. "
            "Try again when it does: modelyard status",
            retry_after=10.0,
        )
    endpoints, deployments = platform.endpoints.snapshot()
    needed = {id for endpoint in endpoints for id in (endpoint.wanted, endpoint.serving)}
    needed |= {pool.deployment for pool in status.pools}
    known = {each.id: each for each in deployments}
    if any(pool.deployment not in known for pool in status.pools):
        raise Unavailable(
            "The node still drains an endpoint that was deleted; nothing was removed. Try again in some seconds.",
            retry_after=5.0,
        )
    found = {known[id].environment for id in needed if id in known}
    for state in ("queued", "running"):
        for job in platform.jobs.list(1000, state):
            for event in platform.jobs.events(job.id, 0):
                if event.kind == "stage_done" and event.stage == "environment":
                    found.add(str(event.data["environment"]))
    return {each for each in found if each is not None}


def _current(platform: Platform, project: str | None) -> list[Deployment]:
    """The deployments that an endpoint (of a project) wants or serves."""
    endpoints, deployments = platform.endpoints.snapshot()
    current = {
        id
        for endpoint in endpoints
        for id in (endpoint.wanted, endpoint.serving)
        if project in (None, endpoint.project)
    }
    return [each for each in deployments if each.id in current]


def _describe(platform: Platform, environment: Environment, current: list[Deployment]) -> EnvironmentAnswer:
    return EnvironmentAnswer(
        id=environment.id,
        requirements=environment.requirements,
        packages=tuple(
            line.split(" ")[0] for line in environment.lock.splitlines() if line and line[0] not in "#- "
        ),
        interpreter=environment.interpreter,
        size=environment.size,
        created=environment.created,
        used_by=tuple(
            EnvironmentUser(endpoint=each.endpoint, model=each.model, version=each.version)
            for each in current
            if each.environment == environment.id
        ),
        last_used=platform.environments.last_used(environment.id),
    )
