"""The head of a request: what its header block says, checked against RFC 9113 §8, and kept for the next one.

A client sends the same block with every call once its table has settled. Such a block is looked up, not
decoded: it must not touch the dynamic table, and any change of the table forgets what was kept.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from modelyard.serve.edge.http2.frames import PROTOCOL_ERROR, StreamError
from modelyard.serve.edge.http2.hpack_decoder import Headers, HpackDecoder

HEADER_LIMIT: Final = 64 * 1024  # bytes of all headers of one request, as RFC 9113 §6.5.2 counts them
_KEPT_BLOCKS: Final = 64
_KEPT_SIZE: Final = 2048  # bytes of a block that is kept
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_PSEUDO: Final = frozenset({b":method", b":scheme", b":authority", b":path"})
_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)

# Not gRPC-Web, nor messages in JSON: those are other formats.
_GRPC: Final = frozenset({b"application/grpc", b"application/grpc+proto"})


class Head(NamedTuple):
    """One request without its body. ``length`` is its content-length, ``grpc`` whether it is a call of gRPC,
    ``too_large`` that its headers are over the limit (those that fit are there)."""

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    length: int | None
    grpc: bool
    too_large: bool


class Heads:
    """Reads the header blocks of one connection."""

    __slots__ = ("_decoder", "_kept")

    def __init__(self) -> None:
        self._decoder = HpackDecoder()
        self._kept: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """The head that ``block`` says. Raises StreamError when malformed, ConnectionError2 when unreadable."""
        head = self._kept.get(block)
        if head is not None:
            return head
        changes = self._decoder.changes
        headers, size = self._decoder.decode(block, HEADER_LIMIT)
        if self._decoder.changes != changes:
            self._kept.clear()
            return _head_of(headers, size > HEADER_LIMIT)
        head = _head_of(headers, size > HEADER_LIMIT)
        if len(block) <= _KEPT_SIZE:
            if len(self._kept) >= _KEPT_BLOCKS:
                self._kept.clear()
            self._kept[block] = head
        return head

    def skip(self, block: bytes) -> Headers:
        """Read a block that nobody wants: the table has to follow it all the same."""
        changes = self._decoder.changes
        headers, _ = self._decoder.decode(block, HEADER_LIMIT)
        if self._decoder.changes != changes:
            self._kept.clear()
        return headers

    def skip_trailers(self, block: bytes) -> None:
        """Read trailers. Raises StreamError when they are none."""
        if any(name.startswith(b":") for name, _ in self.skip(block)):
            raise StreamError(PROTOCOL_ERROR, "a pseudo-header among the trailers")


def _malformed(what: str) -> StreamError:
    return StreamError(PROTOCOL_ERROR, what)


def _head_of(headers: Headers, too_large: bool) -> Head:
    pseudo: dict[bytes, bytes] = {}
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name.startswith(b":"):
            if found or name in pseudo or name not in _PSEUDO:
                raise _malformed("a pseudo-header that is unknown, given twice or too late")
            pseudo[name] = value
            continue
        if _NAME.fullmatch(name) is None or _BAD_VALUE.search(value) is not None:
            raise _malformed("a header that HTTP does not allow")
        if name in _CONNECTION or (name == b"te" and value.lower() != b"trailers"):
            raise _malformed("a header of the connection")
        if name in found:
            if name in (b"content-length", b"host", b"authorization"):
                raise _malformed(f"{name.decode()} is given twice")
            value = found[name] + (b"; " if name == b"cookie" else b", ") + value
        found[name] = value
    method, target = pseudo.get(b":method"), pseudo.get(b":path")
    if not method or b":scheme" not in pseudo or not target or not (target[:1] == b"/" or target == b"*"):
        raise _malformed("a request without its method, scheme or path")
    if any(byte <= 0x20 or byte == 0x7F for byte in target) or not method.isalpha():
        raise _malformed("a method or a path that HTTP does not allow")
    authority = pseudo.get(b":authority")
    if authority is not None:
        if found.get(b"host", authority) != authority:
            raise _malformed("host and :authority differ")
        found[b"host"] = authority
    length = found.get(b"content-length")
    if length is not None and not (length.isdigit() and len(length) < 19):
        raise _malformed("a content-length that is no number")
    path, _, query = target.partition(b"?")
    return Head(
        method.decode("latin-1"),
        path.decode("latin-1"),
        query.decode("latin-1"),
        found,
        None if length is None else int(length),
        found.get(b"content-type", b"").partition(b";")[0].rstrip() in _GRPC,
        too_large,
    )
