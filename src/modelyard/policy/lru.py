"""What is kept of what was used lately: a bound in bytes, an age after which it is stale, no clock of its own."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Entry(Generic[V]):
    __slots__ = ("expires", "size", "value")

    def __init__(self, value: V, size: int, expires: float) -> None:
        self.value = value
        self.size = size
        self.expires = expires


class Lru(Generic[K, V]):
    """Values by key, together at most ``limit`` bytes; the one that was not used for longest goes first.

    A value is fresh for ``ttl`` seconds after it was put, then *stale*: :meth:`get` gives it only to who
    asks for stale ones, and it stays until its room is needed or a fresh one takes its place. Sizes are
    the caller's word; ``size`` and ``evictions`` are for metrics.
    """

    def __init__(self, limit: int, ttl: float) -> None:
        if limit < 0:
            raise ValueError("the limit of a cache is a number of bytes, 0 or more")
        self.limit = limit
        self.ttl = ttl
        self.size = 0
        self.evictions = 0
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K, now: float, *, stale: bool = False) -> V | None:
        """The fresh value of ``key`` (with ``stale``: of any age), or None. It was used now."""
        entry = self._entries.get(key)
        if entry is None or (now >= entry.expires and not stale):
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: K, value: V, size: int, now: float, ttl: float | None = None) -> bool:
        """Keep ``value`` for ``ttl`` seconds (None: the cache's own), evicting what was not used for longest.

        False when it is over the limit by itself; then ``key`` has no value any more.
        """
        former = self._entries.pop(key, None)
        if former is not None:
            self.size -= former.size
        if size > self.limit:
            return False
        self.size += size
        while self.size > self.limit:
            self.size -= self._entries.popitem(last=False)[1].size
            self.evictions += 1
        self._entries[key] = _Entry(value, size, now + (self.ttl if ttl is None else min(ttl, self.ttl)))
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.size = 0
