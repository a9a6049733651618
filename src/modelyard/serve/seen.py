"""What one API key sees of a node: the endpoints of its grant, as if there were no others."""

from msgspec.structs import replace

from modelyard.core.errors import Forbidden
from modelyard.core.routes import Grant
from modelyard.serve.dataplane import Dataplane


class SeenPlane(Dataplane):
    """Resolves and lists what ``grant`` names of ``plane``; calls go the same way. Made anew with each table."""

    def __init__(self, plane: Dataplane, grant: Grant) -> None:
        super().__init__(plane.metrics)
        names = frozenset(grant.endpoints)
        default = plane.table.default
        if default not in names:
            # What is the oldest here may be somebody else's; where there is one alone, it is that one.
            default = grant.endpoints[0] if len(grant.endpoints) == 1 else None
        self.table = replace(plane.table, default=default)
        self.pools = {id: pool for id, pool in plane.pools.items() if pool.spec.endpoint in names}
        self.caches = plane.caches
        self._routes = {name: served for name, served in plane._routes.items() if name in names}
        self._all = plane._all
        self._manages = grant.manages
        self._only = names

    @property
    def only(self) -> frozenset[str]:
        """Those of the grant."""
        return self._only

    def may_manage(self) -> None:
        """Raises Forbidden for a key that predicts and no more."""
        if not self._manages:
            raise Forbidden(
                "This is for the key of an operator; this one may predict.", field="authorization"
            )
