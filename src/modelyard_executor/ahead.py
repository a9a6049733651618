"""Reading ahead: while a batch computes, a second thread takes the next frames and prepares them.

Handing a frame from thread to thread costs more than a small model computes, so the thread reads only
between :meth:`Ahead.begin` and :meth:`Ahead.end`; otherwise the main thread reads by itself.
"""

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

    def begin(self) -> None:
        """Read from now on; the caller leaves the channel's receiving side alone."""
        if self.reading:
            return
        if self._bell is None:
            self._bell = os.pipe()
            sys.setswitchinterval(_SWITCH)
            threading.Thread(target=self._run, name="reads ahead", daemon=True).start()
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

    def _run(self) -> None:
        assert self._bell is not None
        bell = self._bell[0]
        poll = select.poll()
        poll.register(bell, select.POLLIN)
        poll.register(self._channel.fileno(), select.POLLIN)
        while True:
            self._go.acquire()
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
            if self._error is not None:
                return
