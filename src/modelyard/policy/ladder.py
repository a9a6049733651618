"""The ladder of degradation: what is given up first when there is more work than can be done in time.

    step       what                                                          decided in
    no_wait    batches wait for no more mates from a quarter full a queue      scheduler
    shed       work below the default level is refused from half full on       scheduler
    stale      an answer that was kept for longer than it should be            here, carried out in serve/rescue
    fallback   the endpoint that the deployment named answers instead          here, carried out in serve/rescue
    refused    429 or 503, with the time to come back

Each step that is taken is counted by its name.
"""

from collections.abc import Iterator
from typing import Final, Literal

from modelyard.policy.work import DEFAULT_LEVEL

Step = Literal["no_wait", "shed", "stale", "fallback", "refused"]

RESCUED: Final = frozenset({"overloaded", "unavailable"})  # what another answer is better than


def rescues(code: str, *, kept: bool, fallback: bool, fell: bool) -> Iterator[Step]:
    """The steps to try, in order, for a call that ended with the error ``code``.

    ``kept``: answers are cached; ``fallback``: another endpoint is named; ``fell``: this call is already
    another's fallback (one hop, so that two that name each other end).
    """
    if code in RESCUED:
        if kept:
            yield "stale"
        if fallback and not fell:
            yield "fallback"


def refusal(priority: int) -> Step:
    """The name of the last step: work below the default level was shed, all other refused."""
    return "shed" if priority > DEFAULT_LEVEL else "refused"
