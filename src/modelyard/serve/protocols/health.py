"""``/health``, ``/ready`` (and their V2 twins), asked by machines without a key, and ``/metrics``."""

from collections.abc import Callable

from modelyard.core.errors import Unavailable
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Response, json_response


async def live() -> Response:
    """The loop turns: it has just answered."""
    return json_response({"status": "healthy", "live": True})


async def ready(plane: Dataplane) -> Response:
    """Every endpoint of the table has a replica that answered a prediction. Raises Unavailable."""
    waiting = sorted(name for name in plane.endpoints() if not plane.resolve(name).ready)
    if waiting:
        # Whoever asks here has shown no key.
        told = ", ".join(waiting) if plane.table.keys is None else f"{len(waiting)} endpoints"
        raise Unavailable(f"Not ready yet: {told}.", retry_after=1.0)
    return json_response({"status": "ready", "ready": True})


async def metrics(formatted: Callable[[frozenset[str] | None], bytes], plane: Dataplane) -> Response:
    """The counts of what ``plane`` sees, in Prometheus' text format."""
    return Response(formatted(plane.only), content_type=b"text/plain; version=0.0.4; charset=utf-8")
