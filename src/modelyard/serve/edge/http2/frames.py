"""Frames of HTTP/2: their types, flags, errors, and how one is written (RFC 9113 §4, §6, §7)."""

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER = struct.Struct(">BHBBL")  # length (u24, in two parts), type, flags, stream
HEADER_SIZE: Final = 9

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

SETTINGS_HEADER_TABLE_SIZE: Final = 1
SETTINGS_ENABLE_PUSH: Final = 2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 4
SETTINGS_MAX_FRAME_SIZE: Final = 5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 6

MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65535
DEFAULT_FRAME: Final = 16384  # bytes of payload that every peer takes

SETTINGS_ACK: Final = HEADER.pack(0, 0, SETTINGS, ACK, 0)


class ConnectionError2(Exception):
    """The peer broke the protocol: the connection ends with GOAWAY and ``code``."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def protocol_error(reason: str) -> ConnectionError2:
    """The peer sent what it must not."""
    return ConnectionError2(PROTOCOL_ERROR, reason)


def size_error(reason: str) -> ConnectionError2:
    """A frame of a length that it cannot have."""
    return ConnectionError2(FRAME_SIZE_ERROR, reason)


class StreamError(Exception):
    """One stream is malformed: it ends with RST_STREAM and ``code``, the others go on."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def head_of(kind: int, flags: int, stream: int, length: int) -> bytes:
    """The nine bytes in front of ``length`` bytes of payload."""
    return HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream)


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return head_of(SETTINGS, 0, 0, 6 * len(values)) + b"".join(
        struct.pack(">HL", name, value) for name, value in values.items()
    )


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return head_of(WINDOW_UPDATE, 0, stream, 4) + increment.to_bytes(4, "big")


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return head_of(RST_STREAM, 0, stream, 4) + code.to_bytes(4, "big")


def ping(payload: bytes, flags: int = 0) -> bytes:
    """A PING frame; ``payload`` has eight bytes."""
    return head_of(PING, flags, 0, 8) + payload


def goaway(last: int, code: int, reason: str = "") -> bytes:
    """A GOAWAY frame: streams up to ``last`` are seen to."""
    said = reason.encode()[:256]
    return head_of(GOAWAY, 0, 0, 8 + len(said)) + struct.pack(">LL", last, code) + said


def without_padding(payload: bytes, flags: int) -> bytes:
    """The payload of a DATA or HEADERS frame less its padding. Raises ConnectionError2."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionError2(PROTOCOL_ERROR, "the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]
