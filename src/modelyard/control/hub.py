"""From threads that write events to coroutines that stream them, without polling."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class JobHub:
    """Wakes those who follow a job. ``publish`` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._followers: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether streams are to end because the process does."""
        return self._closed

    @property
    def followers(self) -> int:
        """How many streams are open."""
        with self._lock:
            return sum(len(group) for group in self._followers.values())

    @contextmanager
    def follow(self, job: str) -> Iterator[asyncio.Event]:
        """An event that is set at every change of ``job``; for the running loop."""
        follower = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._followers.setdefault(job, set()).add(follower)
        try:
            yield follower[1]
        finally:
            with self._lock:
                group = self._followers[job]
                group.discard(follower)
                if not group:
                    del self._followers[job]

    def publish(self, job: str) -> None:
        """``job`` has a new event or state."""
        with self._lock:
            self._wake(list(self._followers.get(job, ())))

    def close(self) -> None:
        """End all streams."""
        with self._lock:
            self._closed = True
            self._wake([follower for group in self._followers.values() for follower in group])

    @staticmethod
    def _wake(followers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        for loop, event in followers:
            # A loop that is closed, or is being closed right now, has no one left to wake.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)
