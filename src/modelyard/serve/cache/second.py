"""The second level: what any node computed, kept in Redis for all of them. It never costs more than its budget.

Reads and writes have a link each, so that an answer of a megabyte on its way out delays no question.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from modelyard.serve.cache.answers import Hit, packed, unpacked
from modelyard.serve.cache.redis import Address, Link
from modelyard.serve.cache.resp import Refusal, Replies, command
from modelyard.serve.call import Answer
from modelyard.serve.observe.counts import RedisCounts

log = logging.getLogger("modelyard.redis")

MAX_VALUE: Final = 1024 * 1024  # bytes; larger answers are kept in memory alone
MAX_UNWRITTEN: Final = 8 * 1024 * 1024  # bytes on their way to Redis; what would be more is not written
MAX_QUESTIONS: Final = 4096  # keys that are being asked for
WRITE_LIMIT: Final = 5.0  # seconds that Redis may leave a write unanswered
_PREFIX = b"modelyard:1:"

Found = list[tuple[Hit, float] | None]  # by key: the answer and the seconds it is fresh for


class SecondLevel:
    """Keeps answers by key. ``counts`` is for metrics."""

    def __init__(self, address: Address, budget: float, counts: RedisCounts) -> None:
        self.budget = budget
        self.counts = counts
        counts.state = lambda: self.up
        self._reader = Link(address, budget)
        self._writer = Link(address, budget)
        self._questions = 0
        self._writing = 0
        self._oldest = 0.0  # when the write that is unanswered for longest was sent
        self._said: set[str] = set()

    @property
    def up(self) -> bool:
        """Whether a look-up would be made."""
        return self._reader.state == "up"

    @property
    def can_write(self) -> bool:
        """Whether an answer would be written."""
        return self._writer.state == "up"

    @property
    def trouble(self) -> str | None:
        """Why it is not asked, if it is not."""
        return self._reader.trouble

    def start(self) -> None:
        """Begin to connect; nobody waits for it."""
        self._reader.start()
        self._writer.start()

    async def close(self) -> None:
        """Leave Redis."""
        await asyncio.gather(self._reader.close(), self._writer.close())

    def look_up(self, keys: Sequence[bytes], limit: float, done: Callable[[Found | None], None]) -> bool:
        """Ask for ``keys``. ``done`` is called once, within ``limit`` seconds (and never more than the budget).

        It gets what was found, or None when that is not known in time. False: not asked, not called.
        """
        if self._questions + len(keys) > MAX_QUESTIONS or limit <= 0:
            return False
        question = _Question(self, keys, done)
        commands: list[bytes] = []
        for key in keys:
            name = _PREFIX + key.hex().encode()
            commands += (command(b"GET", name), command(b"PTTL", name))
        self._questions += len(keys)
        if not self._reader.ask(commands, question.replied):
            self._questions -= len(keys)
            return False
        question.arm(min(limit, self.budget))
        return True

    def ended(self, keys: int) -> None:
        """A look-up of so many keys is over."""
        self._questions -= keys

    def answered(self, waited: float) -> None:
        """Redis answered a look-up in time."""
        self._reader.answered()
        self.counts.wait.observe(waited)

    def not_answered(self) -> None:
        """Redis did not answer a look-up in time."""
        self.counts.late += 1
        self._reader.too_late()

    def keep(self, key: bytes, answer: Answer, ttl: float) -> None:
        """Write an answer, some time soon, if that can be done."""
        if self._writer.state != "up" or ttl < 0.001:
            return
        now = asyncio.get_running_loop().time()
        if self._writing and now - self._oldest > WRITE_LIMIT:
            self._writer.cut(f"it left a write unanswered for {WRITE_LIMIT:g} s")
            return
        value = packed(key, answer)
        if len(value) > MAX_VALUE:
            return
        if self._writing + len(value) > MAX_UNWRITTEN:
            self.counts.unwritten += 1
            return
        if not self._writing:
            self._oldest = now
        self._writing += len(value)
        name = _PREFIX + key.hex().encode()
        self._writer.ask(
            [command(b"SET", name, value, b"PX", b"%d" % max(1, int(ttl * 1000)))],
            partial(self._written, len(value)),
        )

    def _written(self, size: int, replies: Replies | None) -> None:
        self._writing -= size
        self._oldest = asyncio.get_running_loop().time()
        for reply in replies or ():
            if isinstance(reply, Refusal):
                self.note_refusal(reply)

    def note_refusal(self, refusal: Refusal) -> None:
        """Redis works but does not do this (it is full, read-only, …): told once for each kind."""
        self.counts.refused += 1
        kind = f"{refusal}".partition(" ")[0]
        if kind not in self._said and len(self._said) < 32:
            self._said.add(kind)
            log.warning("Redis refuses a command", extra={"why": f"{refusal}"[:200]})


class _Question:
    """One look-up: what comes first ends it, the replies, the end of its time, or that of the link."""

    __slots__ = ("_began", "_done", "_keys", "_level", "_loop", "_timer")

    def __init__(
        self, level: SecondLevel, keys: Sequence[bytes], done: Callable[[Found | None], None]
    ) -> None:
        self._level = level
        self._keys = keys
        self._done: Callable[[Found | None], None] | None = done
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, limit: float) -> None:
        """The clock runs."""
        if self._done is not None:
            self._timer = self._loop.call_later(limit, self._nearly_late)

    def replied(self, replies: Replies | None) -> None:
        """The replies, two for each key; None when the link ended."""
        done = self._take()
        if done is None:
            return
        self._level.ended(len(self._keys))
        if replies is None:
            done(None)
            return
        self._level.answered(self._loop.time() - self._began)
        done(self._found(replies))

    def _found(self, replies: Replies) -> Found:
        found: Found = []
        for key, value, left in zip(self._keys, replies[::2], replies[1::2], strict=True):
            answer = None
            if isinstance(value, bytes):
                answer = unpacked(key, value)
                self._level.counts.corrupt += answer is None
            elif isinstance(value, Refusal):
                self._level.note_refusal(value)
            if answer is None or not isinstance(left, int) or left <= 0:
                found.append(None)
            else:
                found.append((answer, left / 1000))
        return found

    def _nearly_late(self) -> None:
        # After a turn in which this loop was busy, timers may be called before what has long arrived is
        # read (libuv does): a turn more, and it is Redis that is late, not we.
        self._loop.call_soon(self._loop.call_soon, self._late)

    def _late(self) -> None:
        done = self._take()
        if done is not None:
            self._level.ended(len(self._keys))
            self._level.not_answered()
            done(None)

    def _take(self) -> Callable[[Found | None], None] | None:
        done, self._done = self._done, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return done
