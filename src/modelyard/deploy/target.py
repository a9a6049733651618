"""What a target is: a place that runs replicas, told what to run by a whole table of routes."""

from typing import Protocol

from modelyard.core.routes import NodeStatus, RouteTable


class Target(Protocol):
    """Every method raises Unavailable when the target does not answer; then nothing is known."""

    def apply(self, table: RouteTable) -> None:
        """Make ``table`` the one that is served. Raises Conflict when the target has a newer one."""
        ...

    def status(self) -> NodeStatus:
        """What the target runs now."""
        ...

    def logs(self, deployment: str, tail: int) -> str:
        """The last ``tail`` lines that the replicas of ``deployment`` wrote. Raises NotFound."""
        ...
