"""Frames that are about the connection, not about a request: SETTINGS, PING, PRIORITY; and how many may come."""

from collections.abc import Callable, Mapping

from modelyard.serve.edge.http2 import frames
from modelyard.serve.edge.http2.allowance import Allowance
from modelyard.serve.edge.http2.frames import ConnectionError2, protocol_error, size_error
from modelyard.serve.edge.http2.outflow import Outflow
from modelyard.serve.edge.http2.stream import Stream

MAX_SETTINGS = 64  # in one frame


class Control:
    """Answers them for one connection. ``streams`` are those that are open."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        outflow: Outflow,
        streams: Mapping[int, Stream],
        now: float,
    ) -> None:
        self._write = write
        self._outflow = outflow
        self._streams = streams
        self._allowance = Allowance(now)

    def earn(self) -> None:
        """A call was answered."""
        self._allowance.earn()

    def spend(self, now: float, what: str) -> None:
        """Count a frame that brings nothing. Raises ConnectionError2 when there were too many."""
        if not self._allowance.spend(now):
            raise ConnectionError2(frames.ENHANCE_YOUR_CALM, f"too many {what}")

    def frame(self, kind: int, flags: int, id: int, payload: bytes, now: float) -> None:
        """Do what a frame says. Raises ConnectionError2 for one that breaks a rule."""
        match kind:
            case frames.SETTINGS:
                self._settings(flags, id, payload, now)
            case frames.PING:
                if id or len(payload) != 8:
                    raise protocol_error("PING on a stream") if id else size_error("a PING that is none")
                if not flags & frames.ACK:
                    self.spend(now, "PING")
                    self._write(frames.ping(payload, frames.ACK))
            case frames.PRIORITY:
                if not id or len(payload) != 5:
                    raise size_error("a PRIORITY that is none") if id else protocol_error("PRIORITY of 0")
                self.spend(now, "PRIORITY")
            case frames.PUSH_PROMISE:
                raise protocol_error("a client does not push")
            case _:
                self.spend(now, "frames of unknown types")  # RFC 9113 §4.1: ignored

    def _settings(self, flags: int, id: int, payload: bytes, now: float) -> None:
        if id or len(payload) % 6 or (flags & frames.ACK and payload):
            raise protocol_error("SETTINGS on a stream") if id else size_error("SETTINGS that are none")
        if flags & frames.ACK:
            return
        self.spend(now, "SETTINGS")
        if len(payload) > 6 * MAX_SETTINGS:
            raise ConnectionError2(frames.ENHANCE_YOUR_CALM, "too many settings")
        self._outflow.follow(payload, self._streams.values())
        self._write(frames.SETTINGS_ACK)
        self._outflow.flush_blocked()
