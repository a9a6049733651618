"""What each path of the node means: one file per protocol, all over the same dataplane."""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from urllib.parse import unquote

from modelyard.core.errors import Forbidden, NotFound
from modelyard.host.network import is_loopback
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response
from modelyard.serve.protocols import health, native, v2
from modelyard.serve.protocols.internal import Internal

_OPEN = frozenset({"/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"})


def _check_browser(request: Request) -> None:
    host = request.header(b"host")
    origin = request.header(b"origin")
    if (host is not None and not is_loopback(_name_of(host))) or (
        origin is not None and not is_loopback(_name_of(origin.partition("://")[2]))
    ):
        raise Forbidden(
            "Without authentication this node answers calls to its loopback address alone, and to no page of "
            "another site; start it with --authentication to use another name.",
            field="host",
        )


@lru_cache(maxsize=256)
def _name_of(authority: str) -> str:
    """Host name of ``name:port`` or ``[::1]:port``."""
    if authority.startswith("["):
        return authority.partition("]")[0][1:]
    return authority.partition(":")[0].lower()


class Router:
    """Finds the handler of a request: the whole surface of the node, in one screen."""

    def __init__(self, dataplane: Dataplane, internal: Internal, metrics: Callable[[], bytes]) -> None:
        self._dataplane = dataplane
        self._internal = internal
        self._metrics = metrics

    def admit(self, request: Request) -> None:
        """Raise Unauthenticated or Forbidden for who may not call; before the body is read.

        Where no key is asked for, only this machine is listened to, and a browser must not be made to
        call for a page of somebody else (DNS rebinding, cross-site posts).
        """
        if self._dataplane.table.keys is None:
            _check_browser(request)
        elif request.path not in _OPEN and not request.path.startswith("/node/"):
            self._dataplane.check_key(request.bearer())

    async def __call__(self, request: Request) -> Response:
        """Answer ``request``. Raises NotFound for a path or a method that nobody serves."""
        parts = request.path.split("/")[1:] or [""]  # "OPTIONS *" has a path without a slash
        if "%" in request.path:
            parts = [unquote(part) for part in parts]
        if parts[0] == "node":
            return await self._internal(request, parts[1:])
        open_to_all = self._probe(request, parts)
        if open_to_all is not None:
            return open_to_all
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
