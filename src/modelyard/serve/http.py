"""HTTP on the node: an ASGI application that turns a connection's request into one ``Request``.

Here are the limits (body size, time to send it), the request id, the watch for a caller that leaves,
and the one place where errors become statuses. What a path means is in ``protocols``.
"""

import asyncio
import itertools
import logging
import math
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, cast

import msgspec

from modelyard.core.errors import Cancelled, Deadline, Internal, InvalidInput, ModelyardError, TooLarge

log = logging.getLogger("modelyard.http")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_TIMEOUT = 30.0  # seconds between two pieces of a body
DISCARD_LIMIT = 1 << 30  # bytes of a refused body that are read, so that the caller sees the answer
WATCH_AFTER = 0.05  # seconds after which a waiting call looks whether its caller is still there


class Request:
    """One HTTP request, read whole. Header names are lower-case."""

    __slots__ = ("body", "headers", "id", "method", "path", "query")

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[bytes, bytes],
        request_id: str,
        body: bytes,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.id = request_id
        self.body = body

    def header(self, name: bytes) -> str | None:
        """A header's value, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def bearer(self) -> str | None:
        """The key of ``Authorization: Bearer <key>``, or None."""
        scheme, _, key = (self.header(b"authorization") or "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" and key.strip() else None

    def json_body(self) -> bytes:
        """The body, once its content type was seen to be JSON. Raises InvalidInput."""
        kind = self.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind and kind != b"application/json" and not kind.endswith(b"+json"):
            raise InvalidInput(
                f"The content type is {kind.decode('latin-1')!r}; send JSON with 'Content-Type: application/json'.",
                field="content-type",
            )
        return self.body


class Response:
    """One HTTP answer."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: bytes = b"application/json",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.headers = headers


Handler = Callable[[Request], Awaitable[Response]]


class Application:
    """The ASGI application around ``handle``, which answers a Request or raises a ModelyardError."""

    def __init__(self, handle: Handler, max_body: int) -> None:
        self._handle = handle
        self._max_body = max_body
        self._prefix = os.urandom(4).hex()
        self._numbers = itertools.count(1)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request of one connection (ASGI 3)."""
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = self._request_id(headers.get(b"x-request-id"))
        watch: asyncio.TimerHandle | None = None
        watcher: list[asyncio.Task[None]] = []
        try:
            body = await self._body(headers, receive)
            if body is None:
                return
            request = Request(
                scope["method"],
                scope["path"],
                scope["query_string"].decode("latin-1"),
                headers,
                request_id,
                body,
            )
            task = cast("asyncio.Task[None]", asyncio.current_task())
            loop = asyncio.get_running_loop()
            watch = loop.call_later(
                WATCH_AFTER, lambda: watcher.append(loop.create_task(_cancel_when_left(receive, task)))
            )
            response = await self._handle(request)
        except ModelyardError as error:
            response = error_response(error, request_id)
        except asyncio.CancelledError:
            if not (watcher and watcher[0].done() and not watcher[0].cancelled()):
                raise  # the server stops; the caller did not leave
            response = error_response(Cancelled("The caller left."), request_id)
        except Exception:
            log.exception("an error of ours", extra={"request_id": request_id, "path": scope["path"]})
            response = error_response(
                Internal(f"Something went wrong on our side; the node's log names it by {request_id}."),
                request_id,
            )
        finally:
            if watch is not None:
                watch.cancel()
            if watcher:
                watcher[0].cancel()
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [
                    (b"content-type", response.content_type),
                    (b"content-length", b"%d" % len(response.body)),
                    (b"x-request-id", request_id.encode()),
                    *response.headers,
                ],
            }
        )
        body = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body})

    def _request_id(self, given: bytes | None) -> str:
        """The caller's id when it is harmless in logs and headers, else one of ours."""
        if given and len(given) <= 128 and given.isascii() and given.decode().isprintable():
            return given.decode()
        return f"{self._prefix}-{next(self._numbers):x}"

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes | None:
        """The whole body; None when the caller left while sending. Raises TooLarge, Deadline."""
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body: bytes = message.get("body", b"")
        length = headers.get(b"content-length", b"")
        too_large = (length.isdigit() and int(length) > self._max_body) or len(body) > self._max_body
        if message.get("more_body"):
            parts = [body]
            size = len(body)
            while message.get("more_body"):
                try:
                    async with asyncio.timeout(BODY_TIMEOUT):
                        message = await receive()
                except TimeoutError:
                    raise Deadline(f"The body stopped coming for {BODY_TIMEOUT:g} s.") from None
                if message["type"] == "http.disconnect":
                    return None
                part: bytes = message.get("body", b"")
                size += len(part)
                too_large = too_large or size > self._max_body
                if too_large:
                    parts.clear()
                    if size > DISCARD_LIMIT:
                        break
                else:
                    parts.append(part)
            body = b"".join(parts)
        if too_large:
            raise TooLarge(f"The body is over the limit of {self._max_body} bytes; send less at a time.")
        return body


async def _cancel_when_left(receive: Receive, task: "asyncio.Task[None]") -> None:
    """Cancel ``task`` when its caller disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()


def error_response(error: ModelyardError, request_id: str) -> Response:
    """The one JSON error object, with its status, and Retry-After where there is one."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if error.retry_after is not None:
        headers = ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))),)
    return Response(msgspec.json.encode(error.body(request_id)), status=error.kind.http, headers=headers)


def json_response(value: object, *, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    """``value`` as JSON with status 200. NaN and infinities become null."""
    return Response(msgspec.json.encode(value), headers=headers)


def decode_error(error: Exception, body: bytes) -> InvalidInput:
    """What msgspec says about a body, as a sentence and a field (``inputs[0].shape``)."""
    if isinstance(error, RecursionError):
        return InvalidInput("The JSON is nested too deeply.", field="body")
    text = str(error)
    what, _, path = text.partition(" - at `$")
    if isinstance(error, msgspec.ValidationError):
        return InvalidInput(f"{what}.", field=path.rstrip("`").lstrip(".") or "body")
    if not body:
        return InvalidInput("The body is empty; send a JSON object.", field="body")
    return InvalidInput(f"The body is not valid JSON: {text}.", field="body")
