"""HTTP as the node sees it: one ``Request`` in, one ``Response`` out, errors as the one JSON object.

How bytes of a connection become a Request is in ``connection``; what a path means, in ``protocols``.
"""

import math
from collections.abc import AsyncIterator, Callable, Mapping

import msgspec

from modelyard.core.errors import InvalidInput, ModelyardError
from modelyard.serve.observe.context import Trace


class Request:
    """One HTTP request. Header names are lower-case; the body is there once it was read whole.

    ``client`` is who calls, once it was admitted with a key; ``trace`` the context of its span; ``progress``
    is told how far the computation is, where the request is a job's."""

    __slots__ = ("body", "client", "headers", "id", "method", "path", "progress", "query", "trace")

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[bytes, bytes],
        request_id: str,
        body: bytes = b"",
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.id = request_id
        self.body = body
        self.client = ""
        self.trace: Trace | None = None
        self.progress: Callable[[float | None, str], None] | None = None

    def header(self, name: bytes) -> str | None:
        """A header's value, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def bearer(self) -> str | None:
        """The key of ``Authorization: Bearer <key>``, or None."""
        scheme, _, key = (self.header(b"authorization") or "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" and key.strip() else None

    def json_body(self, *, octets: bool = False) -> bytes:
        """The body, once its content type was seen to be JSON, or with ``octets`` bytes of any kind.

        Raises InvalidInput for others: a page of another site can send those without being asked.
        """
        kind = self.headers.get(b"content-type", b"")
        if kind == b"application/json":
            return self.body
        kind = kind.split(b";")[0].strip().lower()
        if (
            kind
            and kind != b"application/json"
            and not kind.endswith(b"+json")
            and not (octets and kind == b"application/octet-stream")
        ):
            raise InvalidInput(
                f"The content type is {kind.decode('latin-1')!r}; send JSON with 'Content-Type: application/json'.",
                field="content-type",
            )
        return self.body


class Response:
    """One HTTP answer.

    With a ``stream`` the pieces of the body are taken from it, no faster than the client reads (but for
    what the connection's buffer holds); ``body`` is empty then. An error before the first piece is answered
    like any other. The stream is closed (``aclose``) when it is over, when it fails, and when the client
    leaves.
    """

    __slots__ = ("body", "content_type", "headers", "status", "stream")

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: bytes = b"application/json",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        stream: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.stream = stream
        self.body = body
        self.status = status
        self.content_type = content_type
        self.headers = headers


async def close_stream(stream: AsyncIterator[bytes]) -> None:
    """Tell the maker of ``stream`` that nobody takes any more of it."""
    aclose = getattr(stream, "aclose", None)
    if aclose is not None:
        await aclose()


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
