"""A transport without a socket: what is written to it is kept."""

import asyncio
from functools import lru_cache
from typing import Any


class Transport(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self._closing = False
        self.ended = False  # our side of it
        self.protocol: Any = None  # who is told what comes

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        assert not self._closing, "written to a transport that is closed"
        assert not self.ended, "written behind the end"
        self.written += data

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self._closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


@lru_cache(maxsize=1)
def the_loop() -> asyncio.AbstractEventLoop:
    """The one loop of this process, which nobody closes."""
    return asyncio.new_event_loop()
