"""``/node/…``: what the control plane says to the node and asks it; behind the key they share."""

import hmac
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs

import msgspec

from modelyard.core.errors import Forbidden, InvalidInput, NotFound
from modelyard.core.routes import NodeStatus, RouteTable
from modelyard.serve.http import Request, Response, decode_error, json_response
from modelyard.serve.observe.logs import tail


class Internal:
    """Handles the paths under ``/node``. ``apply`` raises Conflict for a table that is too old."""

    def __init__(
        self,
        key: str,
        status: Callable[[], NodeStatus],
        apply: Callable[[RouteTable], Awaitable[None]],
        log_of: Callable[[str], Path],
    ) -> None:
        self._key = key.encode()
        self._status = status
        self._apply = apply
        self._log_of = log_of

    async def __call__(self, request: Request, parts: list[str]) -> Response:
        """Answer, for whoever has the node's key. Raises Forbidden for all others."""
        if not hmac.compare_digest((request.bearer() or "").encode(), self._key):
            raise Forbidden("These paths are for the control plane of this node alone.")
        match request.method, parts:
            case "GET", ["status"]:
                return json_response(self._status())
            case "PUT", ["routes"]:
                try:
                    table = msgspec.json.decode(request.body, type=RouteTable)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise decode_error(error, request.body) from None
                await self._apply(table)
                return Response(b"", status=204)
            case "GET", ["logs", deployment]:
                return self._logs(request, deployment)
            case _:
                raise NotFound(f"{request.method} {request.path!r} is not a route of this node.")

    def _logs(self, request: Request, deployment: str) -> Response:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", deployment) or ".." in deployment:
            raise InvalidInput("That is not the id of a deployment.", field="deployment")
        wanted = parse_qs(request.query).get("tail", ["200"])[0]
        if not wanted.isdigit() or not 0 < int(wanted) <= 100_000:
            raise InvalidInput("tail is a number of lines from 1 to 100000.", field="tail")
        text = tail(self._log_of(deployment), int(wanted))
        return Response(text.encode(), content_type=b"text/plain; charset=utf-8")
