"""``/health`` and ``/ready`` (and their V2 twins): alive is not ready, and ready is true."""

from modelyard.core.errors import Unavailable
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Response, json_response


def live() -> Response:
    """The loop turns: it has just answered."""
    return json_response({"status": "healthy", "live": True})


def ready(plane: Dataplane) -> Response:
    """Every endpoint of the table has a replica that answered a prediction. Raises Unavailable."""
    waiting = sorted(name for name in plane.endpoints() if not plane.resolve(name).ready)
    if waiting:
        raise Unavailable(f"Not ready yet: {', '.join(waiting)}.", retry_after=1.0)
    return json_response({"status": "ready", "ready": True})
