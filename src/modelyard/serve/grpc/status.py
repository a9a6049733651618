"""How a call of gRPC ends: trailers with its status, the message in percent-encoding, and its deadline.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from typing import Final

from modelyard.core.errors import InvalidInput, ModelyardError
from modelyard.serve.edge.http2 import hpack_encoder

CONTENT_TYPE: Final = b"application/grpc"
HEAD: Final = hpack_encoder.status(200, CONTENT_TYPE) + hpack_encoder.literal(
    b"grpc-accept-encoding", b"identity,gzip,deflate"
)
OK: Final = hpack_encoder.literal(b"grpc-status", b"0")
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MESSAGE_LIMIT: Final = 4096  # bytes of an encoded message; clients limit their headers to 8 KiB


class Unimplemented(ModelyardError):
    """A method, or an encoding, that nobody serves here."""

    code = "not_found"


def status_of(error: ModelyardError) -> int:
    """The number of gRPC for an error: the table's, and UNIMPLEMENTED, which HTTP has no word for."""
    return 12 if isinstance(error, Unimplemented) else error.kind.grpc


def trailers(error: ModelyardError, request_id: str) -> bytes:
    """The header block that ends a call with ``error``."""
    parts = [
        hpack_encoder.literal(b"grpc-status", b"%d" % status_of(error)),
        hpack_encoder.literal(b"grpc-message", percent_encoded(error.message)),
        hpack_encoder.literal(b"modelyard-code", error.code.encode()),
        hpack_encoder.literal(b"x-request-id", request_id.encode()),
    ]
    if error.field is not None:
        parts.append(hpack_encoder.literal(b"modelyard-field", percent_encoded(error.field)))
    if error.retry_after is not None:
        # https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback
        pushback = b"%d" % max(1, round(error.retry_after * 1000))
        parts.append(hpack_encoder.literal(b"grpc-retry-pushback-ms", pushback))
    return b"".join(parts)


def percent_encoded(text: str) -> bytes:
    """``text`` as grpc-message wants it: printable ASCII but for ``%``, the rest as %XX of its UTF-8."""
    raw = text.encode("utf-8", "replace")
    if raw.isascii() and text.isprintable() and b"%" not in raw:
        return raw[:_MESSAGE_LIMIT]
    encoded = bytearray()
    for byte in raw:
        piece = bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        if len(encoded) + len(piece) > _MESSAGE_LIMIT:
            break
        encoded += piece
    return bytes(encoded)


def timeout_of(text: str) -> float:
    """Seconds of a ``grpc-timeout`` (``250m``: a quarter second). Raises InvalidInput."""
    digits, unit = text[:-1], text[-1:]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 8 and unit in _UNITS):
        raise InvalidInput(
            "grpc-timeout is a number of up to eight digits and one of H, M, S, m, u, n.",
            field="grpc-timeout",
        )
    return int(digits) * _UNITS[unit]
