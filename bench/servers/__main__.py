"""`python -m bench.servers uvicorn|granian`: the node's router behind that server."""

import asyncio
import sys
from typing import Any

import uvloop

from modelyard.core.errors import ModelyardError
from modelyard.core.settings import Home, load_settings
from modelyard.host.network import bind
from modelyard.serve import table as kept
from modelyard.serve.http import Request, error_response
from modelyard.serve.node import Node

settings = load_settings()
home = Home(settings.home)


def make_node() -> Node:
    """A node that follows its kept table; to be called inside the loop that serves."""
    node = Node(settings, home.node_key.read_text())
    node._follow(kept.load(home.routes))
    return node


async def answer(
    node: Node, method: str, path: str, query: str, headers: dict[bytes, bytes], body: bytes
) -> Any:
    """One request, as ``serve.connection`` would answer it."""
    try:
        return await node.router(Request(method, path, query, headers, "bench", body))
    except ModelyardError as error:
        return error_response(error, "bench")


def uvicorn_main() -> None:
    import uvicorn

    listener = bind("127.0.0.1", 0, program="bench", option="", variable="")

    async def serve() -> None:
        node = make_node()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            message = await receive()
            body = message["body"]
            while message["more_body"]:
                message = await receive()
                body += message["body"]
            response = await answer(node, scope["method"], scope["path"], "", dict(scope["headers"]), body)
            length = b"%d" % len(response.body)
            headers = [
                (b"content-type", response.content_type),
                (b"content-length", length),
                *response.headers,
            ]
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})

        home.address("node").write_text(f"http://127.0.0.1:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            app, http="httptools", loop="none", lifespan="off", ws="none", access_log=False,
            log_config=None, server_header=False, date_header=False,
        )  # fmt: skip
        await uvicorn.Server(config).serve(sockets=[listener])

    uvloop.run(serve())


class RsgiApplication:
    """The node as an RSGI application; granian calls ``__rsgi_init__`` in the worker's loop."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        async def start() -> None:
            self.node = make_node()

        loop.run_until_complete(start())

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        body = await protocol()
        headers = {name.encode(): value.encode() for name, value in scope.headers.items()}
        response = await answer(self.node, scope.method, scope.path, "", headers, body)
        protocol.response_bytes(
            response.status, [("content-type", response.content_type.decode())], response.body
        )


application = RsgiApplication()


def granian_main() -> None:
    from granian import Granian
    from granian.constants import Interfaces, Loops

    probe = bind("127.0.0.1", 0, program="bench", option="", variable="")
    port = probe.getsockname()[1]
    probe.close()
    home.address("node").write_text(f"http://127.0.0.1:{port}")
    Granian(
        "bench.servers.__main__:application", address="127.0.0.1", port=port, interface=Interfaces.RSGI,
        loop=Loops.uvloop, workers=1, log_enabled=False, websockets=False,
    ).serve()  # fmt: skip


if __name__ == "__main__":
    {"uvicorn": uvicorn_main, "granian": granian_main}[sys.argv[1]]()
