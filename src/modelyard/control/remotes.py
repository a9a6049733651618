"""What the remotes of an endpoint look like to people: the database's word and the node's, put together."""

from modelyard.control.answers import RemotesAnswer
from modelyard.control.platform import Platform
from modelyard.core.access import EVERYBODY, Principal
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import NodeStatus


def describe(platform: Platform, name: str) -> RemotesAnswer:
    """The remotes of one endpoint. Raises NotFound."""
    return _describe(platform, platform.remotes.get(name), platform.node_status())


def describe_all(
    platform: Platform, status: NodeStatus | None, by: Principal = EVERYBODY
) -> list[RemotesAnswer]:
    """Those of all endpoints that ``by`` sees, the oldest first. ``status`` is the node's, None while it does not answer."""
    return [_describe(platform, route, status) for route in platform.remotes.list(project=by.project)]


def _describe(platform: Platform, route: RemoteRoute, status: NodeStatus | None) -> RemotesAnswer:
    remotes, traffic = (), ()
    if status is not None:
        remotes = [each for each in status.remotes if each.endpoint == route.endpoint]
        traffic = [each for each in status.traffic if each.endpoint == route.endpoint]
    return RemotesAnswer(
        endpoint=route.endpoint,
        remotes=route.remotes,
        weight=route.weight,
        retry=route.retry,
        url=platform.endpoint_url(route.endpoint),
        status=tuple(remotes),
        traffic=next(iter(traffic), None),
    )
