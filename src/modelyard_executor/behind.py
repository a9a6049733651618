"""Results leave on a thread of their own, while a device computes the next batch.

Only where the device is not the processor that packs them: hundreds of results take milliseconds to be
packed and sent, and an accelerator would stand still meanwhile. On a CPU it would be the same work in
another order.
"""

import contextlib
import os
import threading
import traceback
from typing import Any, Callable, Optional, Tuple


class Behind:
    """``send(*job)`` is called for one job at a time, on its thread; jobs are given on one other thread."""

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send
        self._go = threading.Lock()
        self._go.acquire()
        self._free = threading.Lock()  # held while a job is on its way
        self._job: Optional[Tuple[Any, ...]] = None
        self._started = False

    def hand_over(self, *job: Any) -> None:
        """Have it sent; waits for the one before."""
        self._free.acquire()
        self._job = job
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="sends behind", daemon=True).start()
        self._go.release()

    def wait(self) -> None:
        """Return when all has left, so that what is sent now comes after it."""
        with self._free:
            pass

    def _run(self) -> None:
        while True:
            self._go.acquire()
            job, self._job = self._job, None
            assert job is not None
            try:
                # A node that is gone is noticed by who reads from it.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._send(*job)
            except BaseException:
                traceback.print_exc()
                os._exit(1)  # as on the main thread: what was computed cannot be told
            del job
            self._free.release()
