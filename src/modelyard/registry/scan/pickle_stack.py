"""What a walk over a pickle holds: descriptions of values, on a stack with marks and in a memo, as the machine of
https://docs.python.org/3/library/pickletools.html has the values themselves.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

_MARKS: Final = 200_000  # within each other


class Reference(NamedTuple):
    """A global that is named at ``offset``."""

    module: str
    name: str
    offset: int


class Unknown(NamedTuple):
    """A value that is not kept."""


class Made:
    """What a call made; ``by`` is what was called."""

    __slots__ = ("arguments", "by", "state")

    def __init__(self, by: object, arguments: object) -> None:
        self.by = by
        self.arguments = arguments
        self.state: object = None


UNKNOWN: Final = Unknown()


@dataclass
class Walked:
    """One pickle. ``calls``: how often something was called. ``stopped``: it came to its end; else ``broken`` says
    why it did not. ``end`` is the byte behind it."""

    references: list[Reference] = field(default_factory=list)
    hidden: list[tuple[int, str]] = field(default_factory=list)  # names that are computed, extension codes
    nested: list[tuple[int, bytes]] = field(default_factory=list)
    built: list[int] = field(default_factory=list)  # where attributes of a global itself are set
    calls: int = 0
    opcodes: int = 0
    stopped: bool = False
    raw: bool = False  # bytes of arrays lie in it, if it is joblib that reads it
    bounded: bool = False  # it was not walked to its end: it is too long, or takes too much memory
    broken: str | None = None
    end: int = 0


class Break(Exception):
    """What loading would raise here."""


class PickleStack:
    """The stack, its marks and the memo, with the opcodes that need nothing else. They raise Break."""

    def __init__(self) -> None:
        self.walked = Walked()
        self._stack: list[object] = []
        self._above: list[list[object]] = []
        self._memo: dict[int, object] = {}

    def _pop(self) -> object:
        if not self._stack:
            raise Break("its opcodes do not fit together")
        return self._stack.pop()

    def _top(self) -> object:
        if not self._stack:
            raise Break("its opcodes do not fit together")
        return self._stack[-1]

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _unmark(self) -> list[object]:
        if not self._above:
            raise Break("its opcodes do not fit together")
        items, self._stack = self._stack, self._above.pop()
        return items

    def mark(self) -> None:
        if len(self._above) >= _MARKS:
            self.walked.bounded = True
            raise Break(f"it has more than {_MARKS:,} marks within each other")
        self._above.append(self._stack)
        self._stack = []

    def pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._unmark()

    def pop_mark(self) -> None:
        self._unmark()

    def dup(self) -> None:
        self._push(self._top())

    def unknown(self) -> None:
        self._push(UNKNOWN)

    def none(self) -> None:
        self._push(None)

    # --- containers

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise Break("its opcodes do not fit together")
        items = tuple(self._stack[len(self._stack) - count :])
        del self._stack[len(self._stack) - count :]
        self._push(items)

    def tuple_marked(self) -> None:
        items = self._unmark()
        self._push(tuple(items) if len(items) <= 64 else UNKNOWN)

    def container(self) -> None:
        """A list, dictionary or set of what lies above the mark."""
        self._unmark()
        self._push(UNKNOWN)

    def items(self) -> None:
        """What lies above the mark goes into what lies below."""
        self._unmark()
        self._top()

    def one(self) -> None:
        self._pop()
        self._top()

    def pair(self) -> None:
        value, key = self._pop(), self._pop()
        target = self._top()
        if isinstance(target, dict) and isinstance(key, str) and len(target) < 64:
            target[key] = value

    def pairs(self) -> None:
        items = self._unmark()
        target = self._top()
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=False):
                if isinstance(key, str) and len(target) < 64:
                    target[key] = value

    def dictionary(self) -> None:
        self._push({})

    # --- the memo

    def put(self, index: int) -> None:
        if index < 0:
            raise Break("a negative place of the memo")
        self._memo[index] = self._top()

    def memoize(self) -> None:
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise Break("it takes from the memo what is not there")
        self._push(self._memo[index])
