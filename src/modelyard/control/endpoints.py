"""What an endpoint looks like to people: the database's word and the node's, put together."""

from modelyard.control.answers import EndpointAnswer, EndpointState
from modelyard.control.platform import Platform
from modelyard.core.access import EVERYBODY, Principal
from modelyard.core.deployment import Deployment, Endpoint
from modelyard.core.errors import NotFound, Unavailable
from modelyard.core.model import Version
from modelyard.core.routes import NodeStatus, PoolStatus


def describe(platform: Platform, name: str) -> EndpointAnswer:
    """One endpoint. Raises NotFound."""
    endpoint, revisions = _look(platform, name)
    return _describe(platform, endpoint, revisions, platform.node_status())


def describe_all(
    platform: Platform, status: NodeStatus | None, by: Principal = EVERYBODY
) -> list[EndpointAnswer]:
    """All endpoints that ``by`` sees, by name. ``status`` is the node's, None while it does not answer."""
    revisions: dict[str, list[Deployment]] = {}
    endpoints, deployments = platform.endpoints.snapshot()
    for deployment in deployments:
        revisions.setdefault(deployment.endpoint, []).append(deployment)
    return [
        _describe(platform, endpoint, revisions[endpoint.name], status)
        for endpoint in sorted(endpoints, key=lambda endpoint: endpoint.name)
        if endpoint.name in revisions and by.sees(endpoint.project) and by.calls(endpoint.name)
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


def _describe(
    platform: Platform, endpoint: Endpoint, revisions: list[Deployment], status: NodeStatus | None
) -> EndpointAnswer:
    if not platform.is_here(endpoint):
        status = None  # our node does not know it
    by_id = {deployment.id: deployment for deployment in revisions}
    wanted = by_id[endpoint.wanted]
    serving = by_id[endpoint.serving] if endpoint.serving is not None else None
    newest = max(revisions, key=lambda each: each.revision)
    pools = {pool.deployment: pool for pool in status.pools} if status is not None else {}
    shown = pools.get((serving or wanted).id)
    version = platform.versions.get((serving or wanted).model, (serving or wanted).version)
    signature = version.analysis.signature
    if signature is None and shown is not None:
        signature = shown.signature
    traffic = None
    if status is not None:
        traffic = next((each for each in status.traffic if each.endpoint == endpoint.name), None)
    return EndpointAnswer(
        endpoint=endpoint,
        serving=serving,
        wanted=wanted,
        url=platform.endpoint_url(endpoint.name, endpoint.home),
        state=_state(wanted, serving, shown, status is not None),
        replicas=shown.replicas if shown is not None else (),
        signature=signature,
        footprint=shown.footprint if shown is not None else None,
        apart=shown.apart if shown is not None else None,
        traffic=traffic,
        failure=_rebuilt(platform, serving or wanted)
        or _failure(newest, serving, shown, pools.get(wanted.id))
        or _quarantined(version),
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
