"""A batch that an executor has."""

from typing import TYPE_CHECKING

from modelyard.policy.work import Measure

if TYPE_CHECKING:
    from modelyard.serve.pool.queue import Ticket


class Batch:
    """Calls that an executor has, and what they cost together. ``began`` is when it could begin with them,
    ``ended`` when it had computed them, if it says so before their result (monotonic seconds)."""

    __slots__ = ("began", "cost", "ended", "number", "tickets")

    def __init__(self, number: int, tickets: "list[Ticket]", cost: Measure, began: float) -> None:
        self.number = number
        self.tickets = tickets
        self.cost = cost
        self.began = began
        self.ended: float | None = None
