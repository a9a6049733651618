"""Reading ahead: while a batch computes, a second thread takes the next frames and prepares them.

Handing a frame from thread to thread costs more than a small model computes, so the thread reads only
between :meth:`Ahead.begin` and :meth:`Ahead.end`; otherwise the main thread reads by itself.
"""

import contextlib
import os
import select
import sys
import threading
from typing import Callable, Optional

from .wire import Channel

# Seconds that a thread may hold the interpreter while another wants it: a tokenizer written in Python
# must not keep the results of the batch before for the 5 ms that are usual.
_SWITCH = 0.0005


class Ahead:
    """``take(header, body)`` is called with each frame that comes while it reads, on its thread."""

    def __init__(self, channel: Channel, take: Callable[[bytes, memoryview], None]) -> None:
        self.reading = False
        self._channel = channel
        self._take = take
        self._go = threading.Lock()
        self._stopped = threading.Lock()
        self._go.acquire()
        self._stopped.acquire()
        self._bell: "Optional[tuple[int, int]]" = None  # a pipe: a byte in it ends the reading
        self._error: Optional[BaseException] = None
        self._closed = False

    def begin(self) -> None:
        """Read from now on; the caller leaves the channel's receiving side alone."""
        if self.reading:
            return
        if self._bell is None:
            self._bell = os.pipe()
            poll = select.poll()
            poll.register(self._bell[0], select.POLLIN)
            poll.register(self._channel.fileno(), select.POLLIN)
            sys.setswitchinterval(_SWITCH)
            threading.Thread(
                target=self._run, args=(poll, *self._bell), name="reads ahead", daemon=True
            ).start()
        self.reading = True
        self._go.release()

    def end(self) -> None:
        """Read no more; the frame at hand is finished first. Raises what went wrong in reading."""
        if not self.reading:
            return
        assert self._bell is not None
        os.write(self._bell[1], b"!")
        self._stopped.acquire()
        self.reading = False
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Read never again, and let the thread go; it is not waited for, whatever it reads."""
        if self._bell is None or self._closed:
            return
        self._closed = True
        if self.reading:
            os.write(self._bell[1], b"!")
        with contextlib.suppress(RuntimeError):  # it was told to go, and has not gone yet
            self._go.release()

    def _run(self, poll: "select.poll", bell: int, rope: int) -> None:
        while True:
            self._go.acquire()
            if self._closed:
                os.close(bell)
                os.close(rope)
                return
            try:
                while True:
                    while self._channel.ready():
                        self._take(*self._channel.receive_raw())
                    if any(descriptor == bell for descriptor, _ in poll.poll()):
                        os.read(bell, 1)
                        break
                    self._channel.ready(look=True)
            except BaseException as error:
                # Told to the main thread, which ends the process by it.
                self._error = error
            self._stopped.release()
