"""What an endpoint looks like to people: the database's word and the node's, put together."""

from typing import NamedTuple

from modelyard.control.answers import EndpointAnswer, EndpointState
from modelyard.control.platform import Platform
from modelyard.core.access import EVERYBODY, Principal
from modelyard.core.deployment import Deployment, Endpoint
from modelyard.core.errors import NotFound, Unavailable
from modelyard.core.model import Version
from modelyard.core.routes import EndpointTraffic, NodeStatus, PoolStatus


def describe(platform: Platform, name: str) -> EndpointAnswer:
    """One endpoint. Raises NotFound."""
    endpoint, revisions = _look(platform, name)
    shown = _shown(endpoint, revisions)
    version = platform.versions.get(shown.model, shown.version)
    return _describe(platform, endpoint, revisions, version, _seen(platform.node_status()))


def describe_all(
    platform: Platform, status: NodeStatus | None, by: Principal = EVERYBODY
) -> list[EndpointAnswer]:
    """All endpoints that ``by`` sees, by name. ``status`` is the node's, None while it does not answer."""
    revisions: dict[str, list[Deployment]] = {}
    endpoints, deployments = platform.endpoints.snapshot()
    for deployment in deployments:
        revisions.setdefault(deployment.endpoint, []).append(deployment)
    told = [
        endpoint
        for endpoint in sorted(endpoints, key=lambda endpoint: endpoint.name)
        if endpoint.name in revisions and by.sees(endpoint.project) and by.calls(endpoint.name)
    ]
    shown = {endpoint.name: _shown(endpoint, revisions[endpoint.name]) for endpoint in told}
    versions = platform.versions.several({(each.model, each.version) for each in shown.values()})
    seen = _seen(status)
    return [
        _describe(platform, endpoint, revisions[endpoint.name], version, seen)
        for endpoint in told
        # Without one its endpoint was deleted just now, and then the version.
        if (version := versions.get((shown[endpoint.name].model, shown[endpoint.name].version))) is not None
    ]


def logs_of(platform: Platform, name: str, tail: int) -> str:
    """The logs of the serving revision and of the newest one, headed when they are two.

    Raises NotFound when there is no such endpoint, Unavailable when the node does not answer.
    """
    endpoint, revisions = _look(platform, name)
    if not platform.is_here(endpoint):
        raise Unavailable(
            f"{name!r} is served by another home of this database; ask it for the logs: {platform.place_of(endpoint)}"
        )
    shown = [each for each in revisions if each.id == endpoint.serving]
    newest = max(revisions, key=lambda each: each.revision)
    if newest.id != endpoint.serving:
        shown.append(newest)
    texts: list[str] = []
    for deployment in shown:
        try:
            text = platform.target.logs(deployment.id, tail)
        except NotFound:
            text = ""
        if len(shown) > 1:
            text = f"==> revision {deployment.revision} ({deployment.state}) <==\n{text}"
        texts.append(text)
    return "\n".join(texts)


def _look(platform: Platform, name: str) -> tuple[Endpoint, list[Deployment]]:
    """An endpoint and its revisions, as they were at one moment. Raises NotFound."""
    endpoints, deployments = platform.endpoints.snapshot()
    for endpoint in endpoints:
        if endpoint.name == name:
            return endpoint, [each for each in deployments if each.endpoint == name]
    raise NotFound(f"There is no endpoint {name!r}; see: modelyard endpoints", field="endpoint")


class _Seen(NamedTuple):
    """What a node says, by deployment and by endpoint; ``answers``: it said something."""

    answers: bool
    pools: dict[str, PoolStatus]
    traffic: dict[str, EndpointTraffic]


def _seen(status: NodeStatus | None) -> _Seen:
    if status is None:
        return _Seen(False, {}, {})
    return _Seen(
        True,
        {pool.deployment: pool for pool in status.pools},
        {each.endpoint: each for each in status.traffic},
    )


def _shown(endpoint: Endpoint, revisions: list[Deployment]) -> Deployment:
    """What serves, or is to serve where nothing does."""
    return next(each for each in revisions if each.id == (endpoint.serving or endpoint.wanted))


def _describe(
    platform: Platform, endpoint: Endpoint, revisions: list[Deployment], version: Version, seen: _Seen
) -> EndpointAnswer:
    if not platform.is_here(endpoint):
        seen = _seen(None)  # our node does not know it
    by_id = {deployment.id: deployment for deployment in revisions}
    wanted = by_id[endpoint.wanted]
    serving = by_id[endpoint.serving] if endpoint.serving is not None else None
    newest = max(revisions, key=lambda each: each.revision)
    shown = seen.pools.get((serving or wanted).id)
    signature = version.analysis.signature
    if signature is None and shown is not None:
        signature = shown.signature
    return EndpointAnswer(
        endpoint=endpoint,
        serving=serving,
        wanted=wanted,
        url=platform.endpoint_url(endpoint.name, endpoint.home),
        state=_state(wanted, serving, shown, seen.answers),
        replicas=shown.replicas if shown is not None else (),
        signature=signature,
        footprint=shown.footprint if shown is not None else None,
        apart=shown.apart if shown is not None else None,
        traffic=seen.traffic.get(endpoint.name),
        failure=_rebuilt(platform, serving or wanted)
        or _failure(newest, serving, shown, seen.pools.get(wanted.id))
        or _quarantined(version)
        or (serving.reason if serving is not None and serving.state == "ready" else None),
        deprecated=version.deprecated,
    )


def _state(
    wanted: Deployment, serving: Deployment | None, pool: PoolStatus | None, node_answers: bool
) -> EndpointState:
    if wanted.state == "failed" and (serving is None or serving.id == wanted.id):
        return "failed"
    if not node_answers:
        return "unknown"
    if serving is None or pool is None:
        return "starting"
    if pool.state in ("ready", "asleep", "waking") and serving.id != wanted.id:
        return "updating"
    return "starting" if pool.state == "draining" else pool.state


def _rebuilt(platform: Platform, deployment: Deployment) -> str | None:
    """What is told of an endpoint whose environment is gone, while it is built again."""
    told = platform.rebuilder.told(deployment.id)
    return None if told is None else f"Its environment is not on this machine, and is built again. {told}"


def _failure(newest: Deployment, serving: Deployment | None, *pools: PoolStatus | None) -> str | None:
    if newest.state == "failed" and (serving is None or newest.revision >= serving.revision):
        return newest.reason
    return next((pool.failure for pool in pools if pool is not None and pool.failure is not None), None)


def _quarantined(version: Version) -> str | None:
    """What is told of an endpoint that goes on serving a version in quarantine (setting ``scan_policy``)."""
    if version.quarantine is None:
        return None
    return f"Its version {version.number} is in quarantine, and serves all the same. {version.quarantine}"
