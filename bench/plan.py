"""How a question is to be measured: how long each run, how often, beside whom."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """``quick``: one short round that only shows that everything works; its numbers are not kept.

    ``rounds`` of interleaved runs, their medians are the answer; ``scale`` stretches or shortens
    every run; ``peers`` is None for all of them.
    """

    quick: bool = False
    rounds: int = 5
    scale: float = 1.0
    peers: tuple[str, ...] | None = None

    def seconds(self, full: float, quick: float = 1.0) -> float:
        """How long one run takes that lasts ``full`` seconds by the book."""
        return quick if self.quick else max(quick, full * self.scale)

    def count(self, full: int, quick: int) -> int:
        """The same for a run counted in items."""
        return quick if self.quick else max(quick, round(full * self.scale))

    @property
    def repeats(self) -> int:
        return 1 if self.quick else self.rounds

    def wants(self, peer: str) -> bool:
        return self.peers is None or peer in self.peers
