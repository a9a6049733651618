"""The caller's own deadline: the header ``modelyard-timeout``, in seconds from arrival."""

from modelyard.core.errors import InvalidInput
from modelyard.serve.http import Request


def timeout_of(request: Request) -> float | None:
    """Seconds, or None when the caller does not say. Raises InvalidInput for anything else."""
    text = request.header(b"modelyard-timeout")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InvalidInput(
            "The header modelyard-timeout is a number of seconds above 0.", field="modelyard-timeout"
        )
    return seconds
