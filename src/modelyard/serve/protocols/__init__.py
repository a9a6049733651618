"""What each path of the node means: one file per protocol, all over the same dataplane."""

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from modelyard.core.errors import NotFound
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response
from modelyard.serve.protocols import health, native, v2
from modelyard.serve.protocols.internal import Internal


class Router:
    """Finds the handler of a request: the whole surface of the node, in one screen."""

    def __init__(self, dataplane: Dataplane, internal: Internal, metrics: Callable[[], bytes]) -> None:
        self._dataplane = dataplane
        self._internal = internal
        self._metrics = metrics

    async def __call__(self, request: Request) -> Response:
        """Answer ``request``. Raises NotFound for a path or a method that nobody serves."""
        plane = self._dataplane
        parts = request.path.split("/")[1:]
        if "%" in request.path:
            parts = [unquote(part) for part in parts]
        if parts[0] == "node":
            return await self._internal(request, parts[1:])
        open_to_all = self._probe(request, parts)
        if open_to_all is not None:
            return open_to_all
        plane.check_key(request.bearer())
        answer = self._find(request, parts)
        if answer is None:
            raise NotFound(f"{request.method} {request.path[:200]!r} is not a route of this node.")
        return await answer

    def _probe(self, request: Request, parts: list[str]) -> Response | None:
        """Health and metrics are asked by machines without keys."""
        plane = self._dataplane
        match request.method, parts:
            case "GET" | "HEAD", ["health"] | ["v2", "health", "live"]:
                return health.live()
            case "GET" | "HEAD", ["ready"] | ["v2", "health", "ready"]:
                return health.ready(plane)
            case "GET", ["metrics"]:
                return Response(self._metrics(), content_type=b"text/plain; version=0.0.4; charset=utf-8")
            case _:
                return None

    def _find(self, request: Request, parts: list[str]) -> Awaitable[Response] | None:
        plane = self._dataplane
        match request.method, parts:
            case "POST", ["v2", "models", name, "infer"]:
                return v2.infer(plane, request, name, None)
            case "POST", ["v2", "models", name, "versions", version, "infer"]:
                return v2.infer(plane, request, name, version)
            case "POST", ["models", name, "predict"]:
                return native.predict(plane, request, name)
            case "POST", ["models", name, "predict", "batch"]:
                return native.predict_batch(plane, request, name)
            case "POST", ["predict"]:
                return native.predict(plane, request, plane.default())
            case "POST", ["predict", "batch"] | ["batch_predict"]:
                return native.predict_batch(plane, request, plane.default())
            case "GET", ["models"]:
                return native.models(plane)
            case "GET", ["v2"]:
                return v2.server_metadata()
            case "GET", ["v2", "models", name]:
                return v2.model_metadata(plane, name, None)
            case "GET", ["v2", "models", name, "versions", version]:
                return v2.model_metadata(plane, name, version)
            case "GET" | "HEAD", ["v2", "models", name, "ready"]:
                return v2.model_ready(plane, name, None)
            case "GET" | "HEAD", ["v2", "models", name, "versions", version, "ready"]:
                return v2.model_ready(plane, name, version)
            case _:
                return None
