"""What stands in front of every request: its id, who may come in, how much it may bring, the log line.

Without authentication only this machine's own programs are meant to come in. A web page that a
browser on this machine shows is none of them, so two things of a browser are looked at: the Host
header (a foreign name that resolves to 127.0.0.1 is DNS rebinding) and the Origin header (a page of
another origin that posts here is cross-site request forgery).
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard.control.access import Table
from modelyard.control.admission import PROJECT_HEADER, Admission
from modelyard.control.errors import error_response, unexpected
from modelyard.core.access import Principal
from modelyard.core.errors import (
    Forbidden,
    InvalidInput,
    ModelyardError,
    NotFound,
    TooLarge,
    Unauthenticated,
)

COOKIE = "modelyard_key"
PUBLIC = frozenset({"/health", "/ready", "/api/v1/health", "/api/v1/ready"})
MAX_JSON = 1024 * 1024
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_BLOBS = "/blobs/"
_log = logging.getLogger("modelyard.access")


class Edge:
    """ASGI middleware; the outermost of ours.

    ``admission`` knows the keys, ``table`` what each address asks for. ``public`` are paths (or, ending in ``/``,
    prefixes) that need no key, ``login`` is where a browser without one is sent, and ``problem`` makes the page that
    tells it of a refusal.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        table: Table,
        authentication: bool,
        hosts: Iterable[str],
        max_body: int,
        public: set[str],
        login: list[str],
        problem: list[Callable[[Request, ModelyardError], Response]],
    ) -> None:
        self._app = app
        self._admission = admission
        self._table = table
        self._authentication = authentication
        self._hosts = _LOOPBACK | {host.strip("[]").lower() for host in hosts}
        self._max_body = max_body
        self._public = public
        self._login = login
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_from(headers.get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                raw = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-request-id"]
                message["headers"] = [*raw, (b"x-request-id", request_id.encode("latin-1"))]
            await send(message)

        try:
            try:
                await self._admit(scope, headers)
                receive = await self._limited(scope, headers, receive)
            except ModelyardError as error:
                await self._refuse(scope, headers, error, request_id)(scope, receive, send_with_id)
                return
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the edge of the process: logged, and told as internal
            response = unexpected(error, request_id)
            if status == 0:
                await response(scope, receive, send_with_id)
        finally:
            level = logging.DEBUG if scope["path"] in PUBLIC else logging.INFO
            if _log.isEnabledFor(level):
                line = {
                    "request_id": request_id,
                    "method": scope["method"],
                    "path": scope["path"][:500],
                    "status": status,
                    "seconds": round(time.perf_counter() - started, 6),
                }
                _log.log(level, "request", extra=line)

    async def _admit(self, scope: Scope, headers: Headers) -> None:
        """Raise Forbidden for a foreign page, Unauthenticated without a key where one is asked for, and what the
        table says of this address and who comes (in ``scope``'s state as ``principal``)."""
        principal = await self._identified(scope, headers)
        if principal is None or self._is_public(scope["path"]):
            return
        project = headers.get(PROJECT_HEADER)
        if principal.name is not None or project is not None:
            await run_in_threadpool(self._require, scope, principal, project)
        else:
            scope["state"]["principal"] = principal  # the home's own key: it sees all, and may everything

    def _require(self, scope: Scope, principal: Principal, project: str | None) -> None:
        principal = self._admission.within(principal, project)
        scope["state"]["principal"] = principal
        if principal.name is not None:
            scope["state"]["who"] = principal.name
        row, named, elsewhere = self._table.find(scope["method"], scope["path"])
        if row is not None:
            self._admission.require(principal, row, named)
        elif not elsewhere:
            # Whatever the router would make of it: what is not in the table is not there.
            raise NotFound(f"There is nothing at {scope['path'][:200]}.")

    async def _identified(self, scope: Scope, headers: Headers) -> Principal | None:
        """Who comes; None where nobody needs to say."""
        public = self._is_public(scope["path"])
        by_header = await self._known(_bearer(headers), lenient=public)
        if by_header is not None:
            return by_header
        host = headers.get("host", "")
        if not self._authentication and _hostname(host) not in self._hosts:
            raise Forbidden(
                f"This address is only for this machine; it does not answer to the host {host[:100]!r}."
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit_netloc(origin) != host.lower():
            raise Forbidden(f"A page of {origin[:100]!r} may not call this address.", field="origin")
        if public:
            return None
        by_cookie = await self._known(_cookie(headers))
        if by_cookie is not None:
            return by_cookie
        if not self._authentication:
            return Principal()
        if "authorization" in headers or "cookie" in headers:
            raise Unauthenticated("This API key is not known here.", field="authorization")
        raise Unauthenticated(
            "An API key is needed: send `Authorization: Bearer <key>`; it is in the file `key` of the home.",
            field="authorization",
        )

    def _is_public(self, path: str) -> bool:
        return path in PUBLIC or any(
            path == entry or (entry.endswith("/") and path.startswith(entry)) for entry in self._public
        )

    async def _known(self, secret: str | None, *, lenient: bool = False) -> Principal | None:
        """Who comes with ``secret``; None when it is none. Raises Unauthenticated for a key that has ended, unless
        nobody has to show one (``lenient``)."""
        if secret is None:
            return None
        if self._admission.is_home(secret):  # also while the database is away
            return Principal()
        try:
            return await run_in_threadpool(self._admission.by, secret)
        except Unauthenticated:
            if self._authentication and not lenient:
                raise
            return None

    def _refuse(self, scope: Scope, headers: Headers, error: ModelyardError, request_id: str) -> ASGIApp:
        page = "text/html" in headers.get("accept", "") and not scope["path"].startswith("/api/")
        if error.code == "unauthenticated" and self._login and page and scope["method"] == "GET":
            return RedirectResponse(self._login[0], status_code=303)
        # The body was not read: the connection cannot be used for another request.
        if error.code in ("forbidden", "not_found") and self._problem and page:
            response = self._problem[0](Request(scope), error)
            response.headers["connection"] = "close"
            return response
        return error_response(error, request_id, headers={"connection": "close"})

    async def _limited(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """Take the body in, up to its limit; a blob's body is left to its own route."""
        method, path = scope["method"], scope["path"]
        told = headers.get("content-length")
        if told is not None and not (told.isascii() and told.isdigit() and len(told) < 20):
            raise InvalidInput("The content-length is not a number of bytes.", field="content-length")
        if method in ("GET", "HEAD", "OPTIONS") or (method == "PUT" and _BLOBS in path):
            return receive
        limit = MAX_JSON if path.startswith("/api/") else self._max_body
        body = bytearray()
        ended = told is not None and int(told) == 0
        too_large = told is not None and int(told) > limit
        while not ended and not too_large:
            message = await receive()
            if message["type"] == "http.disconnect":
                return _replay([message], receive)
            body += message.get("body", b"")
            ended = not message.get("more_body", False)
            too_large = len(body) > limit
        if too_large:
            raise TooLarge(f"The body is over the limit of {limit} bytes.")
        return _replay([{"type": "http.request", "body": bytes(body), "more_body": False}], receive)


def _bearer(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _cookie(headers: Headers) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if morsel is None else morsel.value


def _replay(messages: list[Message], receive: Receive) -> Receive:
    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return again


def request_id_from(told: str | None) -> str:
    """The caller's id when it is 1 to 128 printable ASCII characters, else a new one."""
    if told is not None and 0 < len(told) <= 128 and told.isascii() and told.isprintable():
        return told
    return secrets.token_hex(8)


def _hostname(host: str) -> str:
    """The name in a Host header, without port and brackets, lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def urlsplit_netloc(origin: str) -> str:
    """Host and port of an Origin header; empty for ``null`` and for rubbish."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
