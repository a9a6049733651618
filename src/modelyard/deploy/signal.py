"""A change that threads wait for without polling."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Signal:
    """Counts notifications; whoever waits says up to which count it has looked already."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """Read it *before* looking at the state that is waited for."""
        with self._condition:
            return self._count

    def notify(self) -> None:
        """Wake all who wait."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> bool:
        """Wait until there was a notification after ``seen``, at most ``timeout`` seconds."""
        with self._condition:
            return self._condition.wait_for(lambda: self._count > seen, timeout)

    def until(self, look: Callable[[], T | None], *, every: float) -> T:
        """The first answer of ``look`` that is not None; asked at every notification, and after each
        ``every`` seconds in case that something changed without one. ``look`` may raise to give up."""
        while True:
            seen = self.count
            answer = look()
            if answer is not None:
                return answer
            self.wait(seen, every)
