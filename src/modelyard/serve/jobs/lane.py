"""The jobs of one endpoint on their way: so many at a time, the oldest first."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable


class Lane:
    """``run`` is called with the id of each job in turn, at most ``width()`` at a time."""

    def __init__(self, run: Callable[[str], Awaitable[None]], width: Callable[[], int]) -> None:
        self._run = run
        self._width = width
        self._waiting: deque[str] = deque()
        self._running: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def join(self, id: str) -> None:
        """Behind the others."""
        self._waiting.append(id)
        self._next()

    def leave(self, id: str) -> bool:
        """Take a job out; whether it was running, and ends now."""
        task = self._running.get(id)
        if task is not None:
            return task.cancel()
        if id in self._waiting:
            self._waiting.remove(id)
        return False

    async def close(self) -> None:
        """Nothing runs any more."""
        self._waiting.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _next(self) -> None:
        while self._waiting and len(self._running) < self._width():
            id = self._waiting.popleft()
            task = asyncio.ensure_future(self._run(id))
            self._running[id] = task
            task.add_done_callback(lambda _, id=id: self._done(id))

    def _done(self, id: str) -> None:
        del self._running[id]
        self._next()
