"""What every kind of remote can do; ``v2`` and ``openai`` are the two there are."""

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from modelyard.core.signature import Signature
from modelyard.serve.call import Answer, Call


class Learned(NamedTuple):
    """What a remote told about its model. ``digest`` is "" and ``version`` 0 where it does not tell."""

    signature: Signature | None
    model: str
    version: int
    digest: str
    platform: str


class Kind(Protocol):
    """Speaks to one remote about one model. Raises what the client raises, and Refused."""

    async def learn(self, deadline: float) -> Learned:
        """Ask what the model takes and gives; the remote is ready when this returns."""
        ...

    async def check(self, deadline: float) -> None:
        """Ask whether the model would answer."""
        ...

    async def infer(self, call: Call, deadline: float) -> Answer:
        """One call, answered."""
        ...

    def stream(self, call: Call, deadline: float) -> AsyncGenerator[Answer, None]:
        """The answers to one call as they come, the first of them by ``deadline``."""
        ...
