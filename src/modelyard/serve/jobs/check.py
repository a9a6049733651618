"""A dataplane on which calls are checked and not made: a job that cannot be right is refused at once."""

from collections.abc import AsyncGenerator, Sequence

from modelyard.core.errors import InvalidInput, ModelyardError
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.served import Served


class Fit(Exception):
    """Not an error: the request is one that ``endpoint`` can be asked."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.endpoint = endpoint


class CheckingPlane(Dataplane):
    """Resolves as ``plane`` does. Whatever would be computed raises Fit instead."""

    def __init__(self, plane: Dataplane) -> None:
        super().__init__(plane.metrics)
        self._plane = plane

    def default(self) -> str:
        """As the dataplane's."""
        return self._plane.default()

    def resolve(self, endpoint: str, version: str | None = None) -> Served:
        """As the dataplane's."""
        return self._plane.resolve(endpoint, version)

    async def predict(self, served: Served, call: Call) -> Answer:
        """Raises Fit."""
        raise Fit(served.endpoint)

    async def predict_all(self, served: Served, calls: Sequence[Call | ModelyardError]) -> list[Result]:
        """Raises Fit: a record that is wrong has its error in the answer."""
        raise Fit(served.endpoint)

    async def stream(self, served: Served, call: Call) -> AsyncGenerator[Answer, None]:
        """Raises InvalidInput: nobody would be there to take the pieces."""
        raise InvalidInput("A streamed answer cannot be a job; ask for the whole.", field="prefer")
        yield ()  # pragma: no cover - makes it a generator
