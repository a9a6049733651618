"""Which pages of other sites may call: the CORS protocol of browsers, for the origins of a setting.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from modelyard.core.errors import Forbidden, InvalidInput
from modelyard.serve.http import Request, Response

_EXPOSED = b"x-request-id, retry-after, location, preference-applied, inference-header-content-length, modelyard-model, modelyard-version"
_METHODS = b"GET, HEAD, POST, DELETE, OPTIONS"
_LASTS = b"600"  # seconds that a browser may remember the answer to a preflight


class Cors:
    """The origins whose pages may call; ``*`` among them: all pages."""

    def __init__(self, origins: str) -> None:
        """``origins``: separated by commas, each ``scheme://host[:port]`` or ``*``.

        Raises InvalidInput for anything else.
        """
        self._origins = frozenset(
            each.strip().rstrip("/").lower() for each in origins.split(",") if each.strip()
        )
        for origin in self._origins:
            scheme, _, rest = origin.partition("://")
            if origin != "*" and (not scheme or not rest or "/" in rest):
                raise InvalidInput(
                    f"{origin!r} is not an origin; write 'https://host[:port]', several separated by commas, "
                    "or '*'.",
                    field="cors_origins",
                )
        self._all = "*" in self._origins

    def allows(self, origin: bytes) -> bool:
        """Whether pages of ``origin`` may call."""
        return self._all or origin.decode("latin-1").lower() in self._origins

    def preflight(self, request: Request) -> Response:
        """The answer to a browser that asks before it calls. Raises Forbidden for another origin."""
        origin = request.headers.get(b"origin", b"")
        if not self.allows(origin):
            raise Forbidden(
                f"Pages of {origin.decode('latin-1')[:100]!r} may not call this node; cors_origins names those "
                "that may.",
                field="origin",
            )
        # The key is a header that the page sets itself, never a cookie, so any header may come.
        asked = request.headers.get(b"access-control-request-headers", b"authorization, content-type")
        return Response(
            b"",
            status=204,
            headers=(
                *self.headers(origin),
                (b"access-control-allow-methods", _METHODS),
                (b"access-control-allow-headers", asked),
                (b"access-control-max-age", _LASTS),
            ),
        )

    def headers(self, origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer to a page of ``origin`` says so that the page may read it."""
        if not self.allows(origin):
            return ((b"vary", b"Origin"),)
        return (
            (b"access-control-allow-origin", b"*" if self._all else origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        )
