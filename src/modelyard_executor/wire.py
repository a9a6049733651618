"""The wire between node and executor: frames on a Unix socket pair that the executor inherits.

    frame  = u32 header length | u32 body length | header | body     (little-endian)
    header = JSON object in UTF-8 with a "type"
    body   = the raw tensors that the header lists, one after the other; never pickle

    node -> executor   START   {"versions": [1, 2], "adapter", "files", "device", "threads", "options",
                                "trusted", "slabs": true, "computed": true, "modules": true, "known"}
                                (slabs: see shared.py; computed: the node knows that frame; modules: it
                                wants to know which are imported; known: the signature that HELLO had
                                when the same version was loaded before, or null)
                       BATCH   {"batch", "items": [{"inputs": [tensor...], "parameters": {},
                                "stream": true}...]}                                    (stream: from 2)
                       BATCH   {"batch", "alike": n, "inputs": [tensor...]}                    (from 2)
                       BATCH   {"batch", "slab": [number, bytes], ...}    its body lies there  (from 2)
                       FREE    {"slabs": [number...]}    their bodies are not read any more  (from 2)
                       SOCKET  {}     send no more bodies in slabs                            (from 2)
                       CANCEL  {"batch", "items": [index...]}    nobody waits for these       (from 2)
                       PING    {}
                       DRAIN   {}     finish, then exit with status 0
    executor -> node   HELLO   {"version", "adapter", "signature", "cost", "example", "resources",
                                "memory", "pid"}, where asked for {"modules"}, and from 2 {"depth",
                                "streams", "slabs"}
                       FAILED  {"code", "message", "traceback"}     loading failed; it exits with 1
                                (code "out_of_memory": for want of memory, of the device or the machine)
                       STREAM  {"batch", "index", "outputs": [tensor...]}     a piece        (from 2)
                       RESULT  {"batch", "compute_us", "items": [{"outputs": [tensor...]} or
                                {"error": {"code", "message", "field"}}...]}
                       RESULT  {"batch", "compute_us", "alike": n, "outputs": [tensor...]}     (from 2)
                       RESULT  {"batch", "compute_us", "out_of_memory": true}                  (from 2)
                       RESULT  {"batch", "compute_us", "slab": [number, bytes], ...}           (from 2)
                       COMPUTED {"batch"}     its RESULT follows, and the next has begun       (from 2)
                       PONG    {}

    tensor = [name, datatype, shape, bytes]

The first frame each way carries the protocol version: START offers those that the node speaks,
HELLO names the one chosen, and only what is of that version is said from then on. Batches are numbered
upwards and answered in the order in which they were sent; a node may send ``depth`` - 1 of them ahead of
an answer. Items of a RESULT stand in the order of their BATCH.

*Alike* says once what is the same for all n items: every item has these tensors, of these sizes, and no
parameters. Its body stands tensor by tensor, not item by item, so that the rows of one tensor lie
together: the first tensor of every item, then the second of every item.

A streamed item is answered by STREAM frames and has ``{"outputs": []}`` in its RESULT, or the error that
ended it. An item that was cancelled before it was computed has an error of the code ``cancelled``.
The slab of a BATCH is the node's again with the RESULT, that of a RESULT the executor's with FREE.
*Computed* is said of a batch whose RESULT is packed while the next one, which was sent ahead, computes
already: should the process end before that RESULT, it was not this batch that ended it.
*Out of memory* stands for the whole batch: nothing of it was computed; a smaller one may be.
"""

import json
import socket
import struct
import threading
from typing import Any, List, Sequence, Tuple

_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_decode = json.JSONDecoder().raw_decode

VERSIONS = (1, 2)
DEPTH = 2  # batches that an executor of version 2 takes: one that it computes and one ahead
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


def from_json(header: bytes) -> Any:
    """A header as Python values. Raises ValueError when it is not an object in JSON."""
    message, _ = _decode(str(header, "utf-8"))
    if not isinstance(message, dict):
        raise ValueError("a header that is not an object: %r" % header[:100])
    return message


class Channel:
    """The executor's blocking end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray(256 * 1024)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """The socket's descriptor, to wait for."""
        return self._socket.fileno()

    def receive(self) -> Tuple[Any, memoryview]:
        """The next frame: header and body. Raises EOFError when the node is gone."""
        header, body = self.receive_raw()
        return from_json(header), body

    def receive_raw(self) -> Tuple[bytes, memoryview]:
        """As :meth:`receive`, with the header as it came.

        The body is read-only, and stays valid for as long as anything refers to it.
        """
        if self._end - self._start < LENGTHS.size:
            self._need(LENGTHS.size)
        start = self._start
        header_size, body_size = decode_lengths(self._view[start : start + LENGTHS.size])
        self._start = start = start + LENGTHS.size
        if self._end - start >= header_size:
            self._start = start + header_size
            header = bytes(self._view[start : self._start])
        else:
            header = bytes(self._take(header_size))
        return header, memoryview(self._take(body_size)).toreadonly()

    def ready(self, *, look: bool = False) -> bool:
        """Whether another frame has begun to come; ``look`` asks the socket too, without waiting.

        Raises EOFError when the node is gone.
        """
        if look and self._end - self._start < LENGTHS.size:
            try:
                self._fill(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
        return self._end - self._start >= LENGTHS.size

    def send(self, header: Any, chunks: Sequence[Any] = ()) -> None:
        """Send one frame, from any thread; raises BrokenPipeError when the node is gone."""
        self.send_raw(_to_json(header).encode("utf-8", "replace"), chunks)

    def send_raw(self, header: bytes, chunks: Sequence[Any] = ()) -> None:
        """As :meth:`send`, for a header that is JSON already."""
        frame = encode_raw(header, chunks)
        with self._sending:
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
            self._fill(0)

    def _fill(self, flags: int) -> None:
        """Take what the socket has."""
        if self._start:
            rest = self._buffer[self._start : self._end]
            self._buffer[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        received = self._socket.recv_into(self._view[self._end :], 0, flags)
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
