"""The wire between node and executor: frames on a Unix socket pair that the executor inherits.

    frame  = u32 header length | u32 body length | header | body     (little-endian)
    header = JSON object in UTF-8 with a "type"
    body   = the raw tensors that the header lists, one after the other; never pickle

    node -> executor   START   {"versions": [1], "adapter", "files", "device", "threads", "options",
                                "trusted"}
                       BATCH   {"batch", "items": [{"inputs": [tensor...], "parameters": {}}...]}
                       PING    {}
                       DRAIN   {}     finish, then exit with status 0
    executor -> node   HELLO   {"version", "adapter", "signature", "cost", "example", "resources",
                                "memory", "pid"}
                       FAILED  {"code", "message", "traceback"}     loading failed; it exits with 1
                       RESULT  {"batch", "compute_us", "items": [{"outputs": [tensor...]} or
                                {"error": {"code", "message", "field"}}...]}
                       PONG    {}

    tensor = [name, datatype, shape, bytes]

The first frame each way carries the protocol version: START offers those that the node speaks,
HELLO names the one chosen. Items of a RESULT stand in the order of their BATCH.
"""

import json
import socket
import struct
from typing import Any, List, Sequence, Tuple

_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_from_json = json.JSONDecoder().raw_decode

VERSIONS = (1,)
LENGTHS = struct.Struct("<II")
MAX_HEADER = 64 * 1024 * 1024
MAX_BODY = 2**32 - 1


class WireError(Exception):
    """The other side sent something that is not this protocol; the connection is of no more use."""


def encode(header: Any, chunks: Sequence[Any] = ()) -> List[Any]:
    """One frame as a list of buffers for ``sendmsg`` or ``writelines``."""
    return encode_raw(_to_json(header).encode("utf-8", "replace"), chunks)


def encode_raw(header: bytes, chunks: Sequence[Any] = ()) -> List[Any]:
    """As :func:`encode`, for a header that is JSON already. Raises WireError when over a limit."""
    size = 0
    for chunk in chunks:
        size += chunk.nbytes if isinstance(chunk, memoryview) else len(chunk)
    if len(header) > MAX_HEADER or size > MAX_BODY:
        raise WireError("a frame of %d + %d bytes is over the limit of the wire" % (len(header), size))
    return [LENGTHS.pack(len(header), size) + header, *chunks]


def decode_lengths(prefix: Any) -> Tuple[int, int]:
    """The two lengths at the head of a frame. Raises WireError for an impossible header."""
    header, body = LENGTHS.unpack(prefix)
    if header < 2 or header > MAX_HEADER:
        raise WireError("a header of %d bytes is not possible" % header)
    return header, body


class Channel:
    """The executor's blocking end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray(256 * 1024)
        self._start = 0
        self._end = 0

    def receive(self) -> Tuple[Any, memoryview]:
        """The next frame: header and body. Raises EOFError when the node is gone.

        The body is a fresh buffer that stays valid for as long as anything refers to it.
        """
        self._need(LENGTHS.size)
        header_size, body_size = decode_lengths(self._buffer[self._start : self._start + LENGTHS.size])
        self._start += LENGTHS.size
        header, _ = _from_json(str(self._take(header_size), "utf-8"))
        return header, memoryview(self._take(body_size))

    def send(self, header: Any, chunks: Sequence[Any] = ()) -> None:
        """Send one frame; raises BrokenPipeError when the node is gone."""
        self.send_raw(_to_json(header).encode("utf-8", "replace"), chunks)

    def send_raw(self, header: bytes, chunks: Sequence[Any] = ()) -> None:
        """As :meth:`send`, for a header that is JSON already."""
        frame = encode_raw(header, chunks)
        if sum(map(len, frame[1:])) < 256 * 1024:
            self._socket.sendall(b"".join(frame))
            return
        buffers = [memoryview(buffer).cast("B") for buffer in frame if len(buffer)]
        while buffers:
            # The kernel takes at most IOV_MAX (1024) buffers at a time.
            sent = self._socket.sendmsg(buffers[:1000])
            while buffers and sent >= buffers[0].nbytes:
                sent -= buffers.pop(0).nbytes
            if sent:
                buffers[0] = buffers[0][sent:]

    def _need(self, count: int) -> None:
        """Have at least ``count`` (small) bytes in the buffer."""
        while self._end - self._start < count:
            if self._start:
                rest = self._buffer[self._start : self._end]
                self._buffer[: len(rest)] = rest
                self._start, self._end = 0, len(rest)
            received = self._socket.recv_into(memoryview(self._buffer)[self._end :])
            if not received:
                raise EOFError("the node closed the connection")
            self._end += received

    def _take(self, count: int) -> bytearray:
        """The next ``count`` bytes: what is buffered first, the rest straight from the socket."""
        start = self._start
        ready = self._end - start
        if ready >= count:
            self._start = start + count
            return self._buffer[start : self._start]
        taken = self._buffer[start : self._end]
        self._start = self._end
        if ready < count:
            taken.extend(bytes(count - ready))
            view = memoryview(taken)
            while ready < count:
                received = self._socket.recv_into(view[ready:])
                if not received:
                    raise EOFError("the node closed the connection")
                ready += received
            view.release()
        return taken
