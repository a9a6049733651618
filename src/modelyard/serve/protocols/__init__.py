"""What each path of the node means: one file per protocol, all over the same dataplane."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from modelyard.core.errors import ERROR_KINDS, Forbidden, ModelyardError, NotFound
from modelyard.host.network import is_loopback
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.edge.compression import SMALLEST, compress, decompress
from modelyard.serve.edge.cors import Cors
from modelyard.serve.http import Request, Response, error_response
from modelyard.serve.jobs.check import CheckingPlane, Fit
from modelyard.serve.jobs.jobs import Jobs
from modelyard.serve.observe.failures import FailureLog
from modelyard.serve.protocols import generate, health, invocations, jobs, native, openai, v1, v2, v2_models

if TYPE_CHECKING:
    from modelyard.serve.observe.tracing import Tracer

_OPEN: Final = frozenset(
    {
        "/health",
        "/ready",
        "/ping",
        "/v2/health/live",
        "/v2/health/ready",
        # The same over gRPC.
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
    }
)


@lru_cache(maxsize=256)
def _is_ours(authority: bytes) -> bool:
    """Whether ``name:port`` or ``[::1]:port`` is an address of this machine alone."""
    text = authority.decode("latin-1")
    name = text.partition("]")[0][1:] if text.startswith("[") else text.partition(":")[0].lower()
    return is_loopback(name)


class Router:
    """Finds the handler of a request: the whole surface of the node.

    ``max_body`` bounds a decompressed body, in bytes; ``cors`` are the pages that may call (None: none of
    another site); ``aliases`` are further paths, each with the one that it stands for. ``open_metrics``: whoever
    reaches the node may read what it counts, of all endpoints.
    """

    def __init__(
        self,
        dataplane: Dataplane,
        internal: Callable[[Request, list[str]], Awaitable[Response]],
        metrics: Callable[[frozenset[str] | None], bytes],
        *,
        max_body: int = 16 * 1024 * 1024,
        cors: Cors | None = None,
        aliases: Mapping[str, str] | None = None,
        open_metrics: bool = False,
    ) -> None:
        self._dataplane = dataplane
        self._internal = internal
        self._metrics = metrics
        self._max_body = max_body
        self._cors = cors
        self._aliases = dict(aliases or {})
        opened = _OPEN | ({"/metrics"} if open_metrics else set[str]())
        self._open = opened | {path for path, target in self._aliases.items() if target in opened}
        self._failures = FailureLog()
        self.requests = 0
        self.tracer: Tracer | None = None
        self.jobs: Jobs | None = None
        self._checking = CheckingPlane(dataplane)

    def admit(self, request: Request) -> None:
        """Raise Unauthenticated or Forbidden for who may not call; before the body is read.

        Where no key is asked for, only this machine is listened to, and a browser must not be made to
        call for a page of somebody else (DNS rebinding, cross-site posts).
        """
        if self._dataplane.table.keys is None:
            self._check_browser(request)
        elif not (
            request.path in self._open
            or request.path.startswith("/node/")
            or (self._cors is not None and request.method == "OPTIONS")  # a browser asks without the key
        ):
            request.client = self._dataplane.check_key(request.bearer())

    def admit_passed(self, request: Request) -> None:
        """The same for what a front passes on, which has looked at the key: who it is from."""
        if self._dataplane.table.keys is not None:
            request.client = request.header(b"modelyard-client") or ""

    def _check_browser(self, request: Request) -> None:
        headers = request.headers
        host = headers.get(b"host")
        origin = headers.get(b"origin")
        if (host is not None and not _is_ours(host)) or (
            origin is not None
            and not _is_ours(origin.partition(b"://")[2])
            and (self._cors is None or not self._cors.allows(origin))
        ):
            raise Forbidden(
                "Without authentication this node answers calls to its loopback address alone, and to pages of "
                "no other site than those in cors_origins; start it with --authentication to use another name.",
                field="host",
            )

    async def __call__(self, request: Request) -> Response:
        """Answer ``request``. Raises NotFound for a path or a method that nobody serves."""
        if self.tracer is not None and request.trace is None and request.method == "POST":
            return await self._traced(self.tracer, request)
        self.requests += 1
        try:
            if b"content-encoding" in request.headers:
                await decompress(request, self._max_body)
            if self._cors is not None and b"origin" in request.headers:
                return await self._answer_page(request, self._cors)
            response = await self._find(request)
            return response if len(response.body) < SMALLEST else await self._compressed(request, response)
        except ModelyardError as error:
            self._note(request, error)
            raise
        except asyncio.CancelledError:
            self._failures.left(request, "rest")
            raise

    async def _traced(self, tracer: "Tracer", request: Request) -> Response:
        """The same, inside a span."""
        request.trace = trace = tracer.begin(request, "rest")
        try:
            response = await self(request)
        except ModelyardError as error:
            trace.answered(error.kind.http, error.code, error.place)
            raise
        except BaseException as error:
            code = "cancelled" if isinstance(error, asyncio.CancelledError) else "internal"
            trace.answered(ERROR_KINDS[code].http, code)
            raise
        trace.answered(response.status, "ok")
        return response

    def _note(self, request: Request, error: ModelyardError) -> None:
        # A probe that is answered "not yet" is no failure.
        if error.code != "unavailable" or request.method not in ("GET", "HEAD"):
            self._failures.failed(request, error, "rest")

    async def _compressed(self, request: Request, response: Response) -> Response:
        accepted = request.headers.get(b"accept-encoding")
        return response if accepted is None else await compress(response, accepted)

    async def _answer_page(self, request: Request, cors: Cors) -> Response:
        """Errors too must be readable for a page that may call."""
        if request.method == "OPTIONS":
            return cors.preflight(request)
        try:
            response = await self._compressed(request, await self._find(request))
        except ModelyardError as error:
            self._note(request, error)
            response = error_response(error, request.id)
        response.headers = (*response.headers, *cors.headers(request.headers[b"origin"]))
        return response

    def _find(self, request: Request) -> Awaitable[Response]:
        if b"prefer" in request.headers and request.method == "POST" and _predicts(request.path):
            wait = jobs.asynchronous(request)
            if wait is not None and self.jobs is not None:
                return self._keep(self.jobs, request, wait)
        return self._route(request, self._dataplane.seen_by(request.client))

    async def _keep(self, kept: Jobs, request: Request, wait: float) -> Response:
        """Check a request, which raises what is wrong with it, and make a job of it."""
        try:
            seen = self._dataplane.seen_by(request.client)
            checking = self._checking if seen is self._dataplane else CheckingPlane(seen)
            return await self._route(request, checking)
        except Fit as fit:
            endpoint = fit.endpoint
        return await jobs.accept(kept, request, endpoint, wait)

    def answer(self, request: Request) -> Awaitable[Response]:
        """The answer to a request that was admitted, decompressed and checked before: a job's. It is made for whoever
        asked, with what his key sees now."""
        return self._route(request, self._dataplane.seen_by(request.client))

    def _route(self, request: Request, plane: Dataplane) -> Awaitable[Response]:
        path = request.path
        if self._aliases:
            path = self._aliases.get(path, path)
        parts = path.split("/")[1:]
        if "%" in path:
            parts = [unquote(part) for part in parts]
        match request.method, parts:
            case "POST", ["v2", "models", name, "infer"]:
                return v2.infer(plane, request, name, None)
            case "POST", ["v2", "models", name, "versions", version, "infer"]:
                return v2.infer(plane, request, name, version)
            case "POST", ["models", name, "predict"]:
                return native.predict(plane, request, name)
            case "POST", ["predict"]:
                return native.predict(plane, request, plane.default())
            case "POST", _:
                answer = self._find_post(request, parts, plane)
            case _, ["jobs", *rest] if self.jobs is not None:
                answer = _find_job(self.jobs, request, rest)
            case "GET" | "HEAD", _:
                answer = self._find_get(parts, plane)
            case _:
                answer = None
        if answer is None and parts[:1] == ["node"]:
            answer = self._internal(request, parts[1:])
        if answer is None:
            raise NotFound(f"{request.method} {request.path[:200]!r} is not a route of this node.")
        return answer

    def _find_post(
        self, request: Request, parts: list[str], plane: Dataplane
    ) -> Awaitable[Response] | None:
        match parts:
            case ["models", name, "predict", "batch"]:
                return native.predict_batch(plane, request, name)
            case ["predict", "batch"]:
                return native.predict_batch(plane, request, plane.default())
            case ["batch_predict"]:
                return native.predict_batch(plane, request, plane.default(), bare=True)
            case ["v1", "embeddings"]:
                return openai.in_its_words(openai.embeddings(plane, request), request)
            case ["v1", "models", target] if target.endswith(":predict"):
                return v1.predict(plane, request, target.removesuffix(":predict"), None)
            case ["v1", "models", name, "versions", target] if target.endswith(":predict"):
                return v1.predict(plane, request, name, target.removesuffix(":predict"))
            case ["invocations"]:
                return invocations.invoke(plane, request)
            case ["v2", "models", name, "generate"]:
                return generate.generate(plane, request, name, None)
            case ["v2", "models", name, "versions", version, "generate"]:
                return generate.generate(plane, request, name, version)
            case ["v2", "models", name, "generate_stream"]:
                return generate.generate_stream(plane, request, name, None)
            case ["v2", "models", name, "versions", version, "generate_stream"]:
                return generate.generate_stream(plane, request, name, version)
            case ["v2", "repository", "index"]:
                return v2_models.index(plane, request)
            case ["v2", "repository", "models", name, "load"]:
                return v2_models.load(plane, request, name)
            case ["v2", "repository", "models", name, "unload"]:
                return v2_models.unload(plane, request, name)
            case _:
                return None

    def _find_get(self, parts: list[str], plane: Dataplane) -> Awaitable[Response] | None:
        match parts:
            case ["health"] | ["v2", "health", "live"]:
                return health.live()
            case ["ready"] | ["v2", "health", "ready"]:
                return health.ready(plane)
            case ["ping"]:
                return invocations.ping(plane)
            case ["metrics"]:
                return health.metrics(self._metrics, plane)
            case ["models"]:
                return native.models(plane)
            case ["v2"]:
                return v2_models.server_metadata()
            case ["v2", "models", "stats"]:
                return v2_models.stats(plane, None, None)
            case ["v2", "models", name]:
                return v2_models.model_metadata(plane, name, None)
            case ["v2", "models", name, "versions", version]:
                return v2_models.model_metadata(plane, name, version)
            case ["v2", "models", name, "ready"]:
                return v2_models.model_ready(plane, name, None)
            case ["v2", "models", name, "versions", version, "ready"]:
                return v2_models.model_ready(plane, name, version)
            case ["v2", "models", name, "config"]:
                return v2_models.model_config(plane, name, None)
            case ["v2", "models", name, "versions", version, "config"]:
                return v2_models.model_config(plane, name, version)
            case ["v2", "models", name, "stats"]:
                return v2_models.stats(plane, name, None)
            case ["v2", "models", name, "versions", version, "stats"]:
                return v2_models.stats(plane, name, version)
            case ["v1", "models"]:
                return v1.models(plane)
            case ["v1", "models", name]:
                return v1.model(plane, name, None)
            case ["v1", "models", name, "versions", version]:
                return v1.model(plane, name, version)
            case ["version"]:
                return invocations.version()
            case _:
                return None


def _predicts(path: str) -> bool:
    """Whether what is posted there is a prediction, if it is anything."""
    return not path.startswith(("/node/", "/v2/repository/"))


def _find_job(kept: Jobs, request: Request, parts: list[str]) -> Awaitable[Response] | None:
    match request.method, parts:
        case "GET" | "HEAD", []:
            return jobs.index(kept, request)
        case "GET" | "HEAD", [id]:
            return jobs.show(kept, request, id)
        case "GET" | "HEAD", [id, "result"]:
            return jobs.result(kept, request, id)
        case "GET" | "HEAD", [id, "files", output]:
            return jobs.file(kept, request, id, output)
        case "DELETE", [id]:
            return jobs.cancel(kept, request, id)
        case _:
            return None
