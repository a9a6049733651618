"""Loads of many different calls, in a closed loop (so many callers) or an open one (so many a second)."""

import asyncio
import itertools
import random
import resource
import time
from collections.abc import Callable, Iterator

from bench.load.client import Connection, ConnectionEnded, connect
from bench.load.question import Question
from bench.load.tally import Tally

PATIENCE = 60.0


class Load:
    """One run against the server at ``url``.

    ``patience`` is how long a caller waits before its call counts as hung. Nothing here retries.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self.url = url
        self.tally = Tally()
        self._patience = patience
        self._idle: list[Connection] = []
        self._started = 0.0

    async def closed(
        self,
        questions: Iterator[Question],
        *,
        connections: int,
        seconds: float | None = None,
    ) -> Tally:
        """``connections`` callers that each wait for an answer before they ask again.

        Ends when ``questions`` do, or after ``seconds``; the calls under way then are still waited for.
        """
        _allow_files(connections)
        self._started = time.perf_counter()
        end = None if seconds is None else self._started + seconds

        async def caller() -> None:
            connection: Connection | None = None
            while end is None or time.perf_counter() < end:
                question = next(questions, None)
                if question is None:
                    break
                connection = await self._ask(question, connection, time.perf_counter())
            if connection is not None:
                connection.close()

        await asyncio.gather(*(caller() for _ in range(connections)))
        return self._finished()

    async def open(
        self,
        questions: Iterator[Question],
        *,
        rate: float,
        seconds: float,
        seed: int = 0,
        limit: int = 4000,
    ) -> Tally:
        """Calls at random moments (Poisson), ``rate`` a second on average, whether or not answers come.

        A call's time counts from the moment it was due, so a load generator that lags cannot make the
        server look quick. Raises RuntimeError when more than ``limit`` calls wait at once: then the
        machine would be measured by its memory.
        """
        _allow_files(limit)
        chance = random.Random(seed)
        tasks: set[asyncio.Task[None]] = set()
        self._started = due = time.perf_counter()
        end = due + seconds
        while True:
            due += chance.expovariate(rate)
            if due >= end:
                break
            question = next(questions, None)
            if question is None:
                break
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            elif len(tasks) % 16 == 0:
                await asyncio.sleep(0)
            if len(tasks) >= limit:
                raise RuntimeError(f"more than {limit} calls wait at once")
            task = asyncio.ensure_future(self._arrival(question, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.gather(*tasks)
        for connection in self._idle:
            connection.close()
        return self._finished()

    async def _arrival(self, question: Question, due: float) -> None:
        connection = None
        while self._idle and connection is None:
            candidate = self._idle.pop()
            connection = None if candidate.closed else candidate
        kept = await self._ask(question, connection, due)
        if kept is not None:
            self._idle.append(kept)

    async def _ask(
        self, question: Question, connection: Connection | None, due: float
    ) -> Connection | None:
        """One call, counted once. Gives the connection back when it can be used again."""
        patience = self._patience if question.leave_after is None else question.leave_after
        try:
            if connection is None or connection.closed:
                connection = await connect(self.url)
            answer = connection.ask(question.request)
            # Cheaper than wait_for: a timer that is nearly always cancelled.
            timer = asyncio.get_running_loop().call_later(patience, _give_up, answer)
            try:
                status, body = await answer
            finally:
                timer.cancel()
        except _GaveUp:
            outcome = "hung" if question.leave_after is None else "left"
        except (ConnectionEnded, OSError, ValueError):
            outcome = "lost"
        else:
            outcome = judged(question, status, body)
            statuses = self.tally.statuses
            statuses[status] = statuses.get(status, 0) + 1
        now = time.perf_counter()
        self.tally.add(question.kind, outcome, now - due)
        if outcome == "right":
            self.tally.when.append(now - self._started)
            self.tally.weights.append(question.weight)
        if outcome in ("hung", "left", "lost") and connection is not None:
            connection.close()
        return None if connection is None or connection.closed else connection

    def _finished(self) -> Tally:
        self.tally.seconds = time.perf_counter() - self._started
        return self.tally


class _GaveUp(Exception):
    """The caller's patience ended."""


def _give_up(answer: "asyncio.Future[tuple[int, bytes]]") -> None:
    if not answer.done():
        answer.set_exception(_GaveUp())


def judged(question: Question, status: int, body: bytes) -> str:
    """The outcome of an answer that came."""
    if status == question.expects:
        try:
            return "right" if question.right(body) else "wrong"
        except (ValueError, KeyError):  # not even of the form of an answer
            return "wrong"
    if status == 200:
        return "wrong"
    return "refused" if status in (429, 503) else "failed"


def endless(make: Callable[[int], Question]) -> Iterator[Question]:
    """make(0), make(1), ..."""
    return map(make, itertools.count())


def _allow_files(connections: int) -> None:
    """As many open files as the connections need. Raises ValueError where the machine's limit is below."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
