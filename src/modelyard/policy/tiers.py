"""Where the bytes of a blob should lie: what leaves the cache, and what is kept harder."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

Tier = Literal["warm", "cold"]


class File(Protocol):
    """A file of the cache. ``linked``: a version's folder has it too, so that removing it would free nothing."""

    @property
    def size(self) -> int: ...
    @property
    def used(self) -> float: ...
    @property
    def linked(self) -> bool: ...


F = TypeVar("F", bound=File)


def evictions(files: Sequence[F], budget: int) -> list[F]:
    """The files that leave the cache so that the others are within ``budget`` bytes: those that were not used for the
    longest time. What is linked stays: it would only have to be made again."""
    over = sum(file.size for file in files) - budget
    going: list[F] = []
    for file in sorted((each for each in files if not each.linked), key=lambda each: each.used):
        if over <= 0:
            break
        going.append(file)
        over -= file.size
    return going


def tier(*, used: float, now: float, size: int, cold_after: float, least: int = 1 << 20) -> Tier:
    """Where a blob of ``size`` bytes belongs that was last used at ``used``: *cold* (kept as small as it gets, put
    together when it is needed) after ``cold_after`` seconds, 0: never. Small ones are not worth it."""
    return "cold" if cold_after and size >= least and now - used >= cold_after else "warm"
