"""The process that owns the pools, as its fronts see it: the same machine, the same program.

No breaker and no health: it is there, or this front is about to end with it; and what it answers is told
as it is.
"""

from modelyard.core.routes import Remote
from modelyard.core.signature import Signature
from modelyard.serve.cache.answers import marked
from modelyard.serve.call import Answer
from modelyard.serve.remote.answers import Verdict
from modelyard.serve.remote.exchange import Reply
from modelyard.serve.remote.http import Client
from modelyard.serve.remote.member import RemoteMember
from modelyard.serve.remote.v2 import V2


class _OwnerV2(V2):
    """The cache and the fallback are the owner's: what it says of them, the front says to the caller."""

    def _answer(self, reply: Reply) -> Answer:
        return marked(super()._answer(reply), reply.headers)


class OwnerMember(RemoteMember):
    """One endpoint of the owner."""

    # The owner tells itself when a call's time is over, with the reason.
    grace = 1.0

    def __init__(self, remote: Remote, client: Client, signature: Signature) -> None:
        super().__init__(remote, lambda member: None, client)
        self._kind = _OwnerV2(client, remote.model, "owner", {}, hops=0, binary=True)

    def share(self, now: float) -> float:
        """Always all of it."""
        return 1.0

    def held(self, now: float) -> bool:
        """Never: whom its queue refuses, it tells itself."""
        return False

    def _judge(self, mark: int, verdict: Verdict) -> None:
        """Nothing is held against it."""
