"""A front: one of several processes that share the node's port. ``python -m modelyard.serve.front``.

It is a gateway whose one backend is the process that owns the pools (the owner), over a Unix socket:
sockets, HTTP, JSON and checks happen here; tensors go on raw. What is not a prediction (``/metrics``,
health, ``/node/…``, metadata), and predictions for what this front does not know, are passed on as they came.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import uvloop

from modelyard.core.errors import NotFound, Unavailable
from modelyard.core.routes import Remote, RetryOptions, Route, RouteTable
from modelyard.core.settings import Settings, load_settings
from modelyard.host.log_lines import configure
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.edge.cors import Cors
from modelyard.serve.edge.server import Server, most_connections
from modelyard.serve.front_channel import Channel, Follow, Followed, FrontEndpoint, FrontTable, Stop, Used
from modelyard.serve.http import Request, Response
from modelyard.serve.observe.metrics import NodeCollector
from modelyard.serve.protocols import Router
from modelyard.serve.protocols.invocations import aliases
from modelyard.serve.remote.exchange import Broken, Reply, Unreached
from modelyard.serve.remote.group import RemoteGroup
from modelyard.serve.remote.http import IDLE_TIMEOUT, Address, Client
from modelyard.serve.remote.owner import OwnerMember
from modelyard.serve.served import Served

log = logging.getLogger("modelyard.front")

OWNER_CONNECTIONS = 1024  # calls of one front that the owner works on at a time
FORWARD_LIMIT = 600.0  # seconds that a request which is passed on may take to its first byte
DRAIN_LIMIT = 25.0  # seconds to answer what is there, when it is told to end by a signal
USES_EVERY = 2.0  # seconds between two tellings of which keys came
ORPHAN_LIMIT = 1.0  # seconds to tell clients, when the owner is gone

# What belongs to one connection (RFC 9110, 7.6.1), or was seen to here: who may call, compression.
_DROPPED: Final = frozenset({
    b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"host",
    b"content-length", b"expect", b"content-encoding", b"origin", b"proxy-connection", b"x-request-id", b"accept-encoding", b"date", b"server",
})  # fmt: skip


class Front:
    """One front. Construct and :meth:`run` it inside its event loop."""

    def __init__(self, settings: Settings, owner: str) -> None:
        self._settings = settings
        self._url = f"unix:{owner}"
        self._client = Client(Address("", 0, False, owner, ""), limit=OWNER_CONNECTIONS)
        self._collector = NodeCollector(list)
        self._dataplane = Dataplane(self._collector)
        self._known: dict[str, tuple[FrontEndpoint, Served]] = {}
        self._router = _FrontRouter(
            self,
            self._dataplane,
            max_body=settings.max_body,
            cors=Cors(settings.cors_origins) if settings.cors_origins else None,
            aliases=aliases(os.environ),
            open_metrics=settings.open_metrics,
        )

    def follow(self, table: FrontTable) -> None:
        """Serve by ``table`` from now on; calls on their way stay where they are."""
        known = self._known
        self._known = {}
        for spec in table.endpoints:
            former = known.get(spec.endpoint)
            served = former[1] if former is not None and former[0] == spec else self._served(spec)
            self._known[spec.endpoint] = (spec, served)
        self._dataplane.follow(
            RouteTable(
                generation=table.generation,
                default=table.default,
                keys=table.keys,
                grants=table.grants,
            ),
            {},
            {name: served for name, (_, served) in self._known.items()},
        )
        self._collector.keep(set(self._known))

    def _served(self, spec: FrontEndpoint) -> Served:
        route = Route(
            endpoint=spec.endpoint,
            remotes=(Remote(url=self._url, model=spec.endpoint),),
            retry=RetryOptions(attempts=1),
            model=spec.model,
            serving=spec.serving,
            signature=spec.signature,
        )
        member = OwnerMember(route.remotes[0], self._client, spec.signature)
        counts = self._collector.endpoint(spec.endpoint)
        served = Served.elsewhere(route, RemoteGroup(route, [member], None, counts), counts)
        served.version, served.digest, served.platform = spec.version, spec.digest, spec.platform
        served.plain = spec.plain
        return served

    # --- requests

    async def forward(self, request: Request) -> Response:
        """The owner's answer, as it is. Raises Unavailable when it does not answer."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in request.headers.items()
            if name not in _DROPPED
        }
        headers["x-request-id"] = request.id
        if self._dataplane.table.keys is not None:
            headers.pop("modelyard-client", None)  # the owner believes it
        if request.client:
            headers["modelyard-client"] = request.client
        method = "GET" if request.method == "HEAD" else request.method  # the connection leaves its body out
        target = f"{request.path}?{request.query}" if request.query else request.path
        head = self._client.head(method, target, headers)
        deadline = asyncio.get_running_loop().time() + FORWARD_LIMIT
        async with AsyncExitStack() as stack:
            try:
                reply, pieces = await stack.enter_async_context(
                    self._client.stream(head, request.body, deadline)
                )
                if b"chunked" in reply.headers.get(b"transfer-encoding", b""):
                    return _response(reply, b"", _Passed(pieces, stack.pop_all()))
                return _response(reply, b"".join([piece async for piece in pieces]))
            except (TimeoutError, Unreached, Broken) as error:
                raise Unavailable(
                    "The process that owns the models does not answer; it is being restarted.",
                    retry_after=1.0,
                ) from error

    # --- life

    async def run(self, listener: socket.socket, pair: socket.socket) -> None:
        """Serve until the owner says stop, or is gone."""
        loop = asyncio.get_running_loop()
        channel = Channel(*await asyncio.open_unix_connection(sock=pair))
        server = Server(
            self._router,
            self._settings.max_body,
            admit=self._router.admit,
            max_connections=most_connections(),
        )
        following = asyncio.create_task(self._follow_owner(channel, server, listener))
        loop.add_signal_handler(signal.SIGTERM, following.cancel)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # typed at the whole group; the owner tells us
        sweeping = [asyncio.create_task(self._sweep()), asyncio.create_task(self._tell_uses(channel))]
        try:
            limit = await following
        except asyncio.CancelledError:
            limit = DRAIN_LIMIT
        for each in sweeping:
            each.cancel()
        await server.stop(limit)
        self._client.retire()
        channel.close()

    async def _follow_owner(self, channel: Channel, server: Server, listener: socket.socket) -> float:
        """Follow the owner's tables, listening from the first on; return how long to drain in the end."""
        listening = False
        while (message := await channel.receive()) is not None:
            if isinstance(message, Stop):
                return message.limit
            if isinstance(message, Follow):
                self.follow(message.table)
                if not listening:
                    await server.start(listener)
                    listening = True
                channel.send(Followed(number=message.number))
        log.warning("the owner of the pools is gone; this front ends")
        return ORPHAN_LIMIT

    async def _tell_uses(self, channel: Channel) -> None:
        """Calls are answered here, and the owner is asked who called."""
        while True:
            await asyncio.sleep(USES_EVERY)
            if self._dataplane.used:
                channel.send(Used(used=self._dataplane.used))
                self._dataplane.used = {}

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(IDLE_TIMEOUT / 4)
            self._client.sweep(asyncio.get_running_loop().time())


class _FrontRouter(Router):
    """The node's surface: a prediction is decoded here, all else is the owner's to answer."""

    def __init__(self, front: Front, dataplane: Dataplane, **options: Any) -> None:
        super().__init__(
            dataplane, lambda request, parts: front.forward(request), lambda only: b"", **options
        )
        self._front = front

    async def _find(self, request: Request) -> Response:
        if (
            request.method == "POST"
            and b"prefer" not in request.headers
            and not _is_the_owners(request.path)
        ):
            try:
                return await super()._find(request)
            except NotFound:
                pass  # it may know more: what is starting, what is not for fronts
        return await self._front.forward(request)


class _Passed:
    """The pieces of an answer that is passed on; closing them closes the exchange, begun or not."""

    def __init__(self, pieces: AsyncIterator[bytes], stack: AsyncExitStack) -> None:
        self._pieces = pieces
        self._stack = stack

    def __aiter__(self) -> "_Passed":
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            await self.aclose()
            raise
        except Broken as error:
            raise Unavailable("The process that owns the models ended within its answer.") from error

    async def aclose(self) -> None:
        """Nobody takes more."""
        await self._stack.aclose()


def _response(reply: Reply, body: bytes, stream: AsyncIterator[bytes] | None = None) -> Response:
    headers = tuple(
        (name, value)
        for name, value in reply.headers.items()
        if name not in _DROPPED and name != b"content-type"
    )
    content_type = reply.headers.get(b"content-type", b"application/json")
    return Response(body, status=reply.status, content_type=content_type, headers=headers, stream=stream)


def _is_the_owners(path: str) -> bool:
    """What acts on models or the node, and what comes in pieces."""
    return path.startswith(("/node/", "/v2/repository")) or path.endswith("/generate_stream")


def main() -> int:
    """``front LISTENER PAIR OWNER``: two inherited descriptors and the path of the owner's socket."""
    try:
        listener, pair, owner = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    except (IndexError, ValueError):
        print("A front is started by the node; see: modelyard up --processes", file=sys.stderr)
        return 2
    settings = load_settings()
    configure(settings.log_level)

    async def serve() -> None:
        with socket.socket(fileno=listener) as shared, socket.socket(fileno=pair) as ours:
            ours.setblocking(False)
            await Front(settings, owner).run(shared, ours)

    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
