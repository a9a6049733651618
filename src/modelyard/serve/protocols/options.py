"""What a caller may say beside the inputs, as headers: the same for every REST protocol.

modelyard-timeout: 2.5      seconds from arrival; the deployment's own is the upper bound
modelyard-priority: 1       1 is the most urgent level, larger numbers follow, 0 is the default
modelyard-client: team-a    who shares the queue fairly with others, where there are no keys
cache-control: no-cache     neither read nor keep a cached answer
"""

from modelyard.core.errors import InvalidInput
from modelyard.serve.call import Options
from modelyard.serve.http import Request
from modelyard.serve.observe.context import passed

MAX_PRIORITY = 1000
_NAMES = (
    b"modelyard-timeout",
    b"modelyard-priority",
    b"modelyard-client",
    b"cache-control",
    b"modelyard-hops",
    b"traceparent",
)


def options_of(request: Request) -> Options:
    """The options of one request. Raises InvalidInput naming the header."""
    headers = request.headers
    if request.progress is None and headers.keys().isdisjoint(_NAMES):
        return Options(client=request.client, trace=request.trace, request_id=request.id)
    control = headers.get(b"cache-control", b"").lower()
    return Options(
        timeout=_timeout(request),
        priority=_whole(request, b"modelyard-priority", MAX_PRIORITY),
        client=request.client or (request.header(b"modelyard-client") or "")[:128],
        cache=b"no-cache" not in control and b"no-store" not in control,
        hops=_whole(request, b"modelyard-hops", 64),
        trace=request.trace or passed(headers),
        request_id=request.id,
        progress=request.progress,
    )


def _timeout(request: Request) -> float | None:
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


def _whole(request: Request, name: bytes, limit: int) -> int:
    text = request.headers.get(name)
    if text is None:
        return 0
    if not text.isdigit() or len(text) > 6 or int(text) > limit:
        raise InvalidInput(
            f"The header {name.decode()} is a whole number from 0 to {limit}.", field=name.decode()
        )
    return int(text)
