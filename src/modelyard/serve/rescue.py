"""Another answer instead of a refusal: one that was kept too long, or the fallback's (policy's ladder)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from modelyard.core.errors import ModelyardError
from modelyard.policy.ladder import refusal, rescues
from modelyard.serve.cache.answers import Fallback
from modelyard.serve.call import Answer, Call
from modelyard.serve.checks import checked_call

if TYPE_CHECKING:
    from modelyard.serve.served import Served

Find = Callable[[str], "Served | None"]


async def rescued(
    served: "Served", call: Call, error: ModelyardError, left: float, find: Find
) -> Answer | None:
    """The answer that ``call`` gets instead of ``error``, within ``left`` seconds; None when there is none."""
    named = served.serving.fallback
    steps = served.metrics.steps
    for step in rescues(
        error.code, kept=served.cache is not None, fallback=named is not None, fell=call.options.fell
    ):
        answer: Answer | None = None
        if step == "stale" and served.cache is not None:
            try:
                answer = served.cache.stale(served, call)
            except ModelyardError:  # a remote that has not told its signature yet has no kept answers
                answer = None
        elif step == "fallback" and named is not None and left > 0:
            answer = await _by_fallback(served, call, left, find(named))
        if answer is not None:
            steps[step] += 1
            return answer
    if error.code == "overloaded":
        steps[refusal(call.options.priority)] += 1
    return None


async def _by_fallback(served: "Served", call: Call, left: float, other: "Served | None") -> Answer | None:
    """The other endpoint's answer, when it takes what this one takes and gives what it gives."""
    if other is None or not _alike(served, other):
        return None
    options = call.options._replace(timeout=left, fell=True)
    try:
        again = checked_call(other, list(call.inputs), dict(call.parameters), options)
        pending = other.backend.submit(again)
        try:
            result = await pending.future
        except BaseException:
            pending.cancel()
            raise
    except ModelyardError:
        return None
    return None if isinstance(result, ModelyardError) else Fallback.of(other.endpoint, result)


def _alike(served: "Served", other: "Served") -> bool:
    """Whether a caller of ``served`` can read the answers of ``other``."""
    try:
        wanted = {spec.name: (spec.datatype, len(spec.shape)) for spec in served.signature.outputs}
        given = {spec.name: (spec.datatype, len(spec.shape)) for spec in other.signature.outputs}
    except ModelyardError:
        return False
    return given == wanted
