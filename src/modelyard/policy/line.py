"""The line of one priority level: start-time fair queueing between clients, first come first within one.

Each entry gets a key when it joins: the virtual time at which it would start if every client got an
equal share (Goyal, Vin, Cheng: Start-time Fair Queueing, 1996). Sorted by it, a client that sends a
thousand calls at once stands behind its own, and another's single call near the front. Virtual time
is counted in cost, so that long work counts as such.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import attrgetter
from typing import Generic, TypeVar

from modelyard.policy.work import Entry

E = TypeVar("E", bound=Entry)
_key = attrgetter("key")
_MANY = 1024  # clients whose shares are remembered before those that have caught up are forgotten


class Line(Generic[E]):
    """Entries sorted by their key. Those that are done lie in it until they are met."""

    __slots__ = ("_entries", "_finish", "_now", "live", "units", "weights")

    def __init__(self) -> None:
        self._entries: list[E] = []
        self._finish: dict[str, float] = {}  # client -> virtual time at which its last entry ends
        self._now = 0.0  # virtual time: the key of the last entry that was a batch's head
        self.live = 0  # entries that wait and are not done
        self.units = 0.0  # their useful cost
        self.weights: dict[str, float] = {}  # client -> useful cost that waits of it

    def join(self, entry: E) -> None:
        """Put ``entry`` where its client's share has it start."""
        finish, client, units = self._finish, entry.client, entry.units
        start = finish.get(client)
        if start is None:
            start = self._now
            if len(finish) >= _MANY:
                self._finish = finish = {name: end for name, end in finish.items() if end > start}
        elif start < self._now:
            start = self._now
        entry.key = start
        finish[client] = start + units
        entries = self._entries
        if not entries or entries[-1].key <= start:
            entries.append(entry)
        else:
            entries.insert(bisect_right(entries, start, key=_key), entry)
        # As in _count: this is on the way of every call.
        entry.waiting = True
        self.live += 1
        self.units += units
        self.weights[client] = self.weights.get(client, 0.0) + units

    def rejoin(self, entry: E) -> None:
        """Put back an entry that was taken, in front of all that wait; after :meth:`purge`."""
        entry.key = min(entry.key, self._entries[0].key if self._entries else self._now)
        self._entries.insert(bisect_left(self._entries, entry.key, key=_key), entry)
        self._count(entry)

    def _count(self, entry: E) -> None:
        entry.waiting = True
        self.live += 1
        self.units += entry.units
        self.weights[entry.client] = self.weights.get(entry.client, 0.0) + entry.units

    def left(self, entry: E) -> None:
        """``entry`` waits no longer (taken, expired or cancelled): it counts no more."""
        entry.waiting = False
        self.live -= 1
        if not self.live:
            self.units = 0.0
            self.weights.clear()
            return
        self.units -= entry.units
        weight = self.weights[entry.client] - entry.units
        if weight > 1e-9:
            self.weights[entry.client] = weight
        else:
            del self.weights[entry.client]

    def head(self) -> E | None:
        """The first that waits; those done in front of it are dropped."""
        entries = self._entries
        for index, entry in enumerate(entries):
            if entry.waiting:
                if index:
                    del entries[:index]
                return entry
        self._reset()
        return None

    def first(self, count: int) -> list[E]:
        """The first ``count`` that wait, in order."""
        found: list[E] = []
        for entry in self._entries:
            if entry.waiting:
                found.append(entry)
                if len(found) == count:
                    break
        return found

    def serve(self, head: E) -> None:
        """Virtual time goes on to the start of ``head``, the head of a batch."""
        if head.key > self._now:
            self._now = head.key

    def sweep(self) -> None:
        """Drop those that are done, wherever they lie, when they are the most of the line."""
        if len(self._entries) > 2 * self.live + 64:
            self._entries = [entry for entry in self._entries if entry.waiting]
        if not self.live:
            self._reset()

    def purge(self) -> None:
        """Drop all that are done: whoever rejoins must not lie in the line twice."""
        self._entries = [entry for entry in self._entries if entry.waiting]

    def newest(self, client: str | None) -> E | None:
        """The last that waits (of ``client``): the one that gives way."""
        for entry in reversed(self._entries):
            if entry.waiting and (client is None or entry.client == client):
                return entry
        return None

    def _reset(self) -> None:
        """Nobody waits: shares begin anew, and numbers do not grow for ever."""
        self._entries.clear()
        self._finish.clear()
        self._now = 0.0

    def __iter__(self) -> Iterator[E]:
        """Those that wait, in order."""
        return iter([entry for entry in self._entries if entry.waiting])
