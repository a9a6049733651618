"""What became of the calls of a load, each counted once, by kind."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.statistics import quantile

OUTCOMES = ("right", "wrong", "refused", "failed", "lost", "hung", "left")


@dataclass
class Group:
    """``taken`` are seconds from when a call was due to its whole answer, by outcome.

    right: the answer it was to get. wrong: a 200 that is not it. refused: 429 or 503. failed: any other
    status. lost: the connection ended without an answer. hung: no answer within the load's patience.
    left: the caller went away, as it was to.
    """

    taken: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in OUTCOMES})

    def count(self, outcome: str) -> int:
        return len(self.taken[outcome])

    @property
    def total(self) -> int:
        return sum(map(len, self.taken.values()))


class Tally:
    """Counts and times of one run; ``statuses`` says how many answers of each HTTP status there were."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.statuses: dict[int, int] = {}
        self.seconds = 0.0
        # When right answers came (seconds from the start of the run), and their weights.
        self.when: list[float] = []
        self.weights: list[float] = []

    def add(self, kind: str, outcome: str, taken: float) -> None:
        group = self.groups.get(kind)
        if group is None:
            group = self.groups[kind] = Group()
        group.taken[outcome].append(taken)

    def count(self, outcome: str, kinds: Sequence[str] | None = None) -> int:
        """Calls of these kinds (None: of all) that ended so."""
        return sum(
            group.count(outcome) for name, group in self.groups.items() if kinds is None or name in kinds
        )

    @property
    def total(self) -> int:
        return sum(group.total for group in self.groups.values())

    def milliseconds(self, kind: str, outcome: str, q: float) -> float | None:
        """A quantile of the times of that outcome, or None when there was none."""
        group = self.groups.get(kind)
        if group is None or not group.taken[outcome]:
            return None
        return quantile(group.taken[outcome], q) * 1e3

    def rate(self, start: float, end: float) -> float:
        """Weight of the right answers a second, of those that came between ``start`` and ``end``."""
        pairs = zip(self.when, self.weights, strict=True)
        return sum(weight for when, weight in pairs if start <= when < end) / (end - start)

    def summary(self) -> dict[str, dict[str, float | int | None]]:
        """Per kind: every count, and p50 and p99 in milliseconds of the right answers."""
        return {
            kind: {
                **{outcome: group.count(outcome) for outcome in OUTCOMES},
                "p50": self.milliseconds(kind, "right", 0.5),
                "p99": self.milliseconds(kind, "right", 0.99),
            }
            for kind, group in self.groups.items()
        }
