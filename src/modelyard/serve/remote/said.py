"""A call as it is said to a remote: the headers that the next node reads (``protocols/options``), texts."""

from modelyard.core.errors import InvalidInput
from modelyard.serve.call import Call, RawTensor
from modelyard.serve.remote.answers import Refused

MAX_HOPS = 8  # nodes in a row; a longer way is a circle of routes


def call_headers(call: Call, hops: int = 1) -> bytes:
    """The header lines for ``call``, whose ``timeout`` is what it has left (seconds); it goes ``hops`` further
    (0: to the owner of the pools, whose own limit on time is the same)."""
    options = call.options
    lines = b""
    if hops or options.timeout is not None:
        lines = b"modelyard-timeout: %.6f\r\n" % max(call.timeout, 1e-6)
    if options.hops + hops:
        lines += b"modelyard-hops: %d\r\n" % (options.hops + hops)
    if options.priority:
        lines += b"modelyard-priority: %d\r\n" % options.priority
    if options.client:
        lines += b"modelyard-client: %b\r\n" % options.client.encode("latin-1", "replace")
    if not options.cache:
        lines += b"cache-control: no-cache\r\n"
    if options.request_id:
        lines += b"x-request-id: %b\r\n" % options.request_id.encode()
    if options.trace is not None:
        lines += options.trace.lines()
    return lines


def texts_of(tensor: RawTensor) -> list[str]:
    """The elements of a BYTES tensor as text. Raises Refused for what is no UTF-8."""
    raw = bytes(tensor.data)
    texts: list[str] = []
    position = 0
    while position < len(raw):
        end = position + 4 + int.from_bytes(raw[position : position + 4], "little")
        try:
            texts.append(raw[position + 4 : end].decode())
        except UnicodeDecodeError:
            error = InvalidInput(f"The input {tensor.name!r} is not UTF-8 text.", field=tensor.name)
            raise Refused(error, "unknown") from None
        position = end
    return texts
