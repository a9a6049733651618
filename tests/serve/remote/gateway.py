"""A node whose endpoints are all elsewhere."""

import msgspec

from modelyard.core.routes import Pool, Remote, Route, RouteTable
from support.node import KEY, NodeProcess


class Gateway(NodeProcess):
    """Start with routes to remotes; :meth:`route` replaces them."""

    def route(self, *routes: Route, pools: tuple[Pool, ...] = (), **table: object) -> "Gateway":
        """Write (before the start) or push (after it) a table with these routes."""
        self.generation += 1
        new = RouteTable(
            generation=self.generation,
            pools=pools,
            routes=routes,
            default=routes[0].endpoint if routes else None,
            **table,
        )
        if self.process is None:
            self.home.routes.write_bytes(msgspec.json.encode(new))
        else:
            status, body = self.push(new)
            assert status == 204, body
        return self

    def push(self, table: RouteTable | dict) -> tuple[int, bytes]:
        status, _, body = self.call(
            "PUT", "/node/routes", msgspec.json.encode(table), {"authorization": f"Bearer {KEY}"}
        )
        return status, body


def to(*nodes: NodeProcess, endpoint: str = "mlp", model: str = "mlp", **options: object) -> Route:
    """A route to ``model`` on all of ``nodes``."""
    remotes = tuple(Remote(url=f"http://127.0.0.1:{node.port}", model=model) for node in nodes)
    return Route(endpoint=endpoint, remotes=remotes, **options)
