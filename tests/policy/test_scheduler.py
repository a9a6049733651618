"""The queue of a pool: nothing lost, nothing twice, the oldest first, the budget kept."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from modelyard.policy.scheduler import Entry, Scheduler


def entry(cost: int = 1, deadline: float = 100.0, **rest: object) -> Entry:
    return Entry(cost, deadline, **rest)


def test_an_entry_that_waits_alone_is_the_next_batch() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=8, max_queue=8)
    only = entry()
    assert scheduler.submit(only, 0.0)
    assert scheduler.next_batch(0.0) == [only]
    assert len(scheduler) == 0


def test_what_waits_goes_together_oldest_first_within_the_budget() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=5, max_queue=8)
    entries = [entry(2), entry(2), entry(2), entry(1)]
    for one in entries:
        scheduler.submit(one, 0.0)
    assert scheduler.next_batch(0.0) == entries[:2]
    assert scheduler.next_batch(0.0) == entries[2:]


def test_an_entry_over_the_budget_goes_alone() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=4, max_queue=8)
    large, small = entry(50), entry(1)
    scheduler.submit(large, 0.0)
    scheduler.submit(small, 0.0)
    assert scheduler.next_batch(0.0) == [large]
    assert scheduler.next_batch(0.0) == [small]


def test_a_full_queue_refuses_and_a_cancelled_entry_makes_room() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=4, max_queue=2)
    first = entry()
    assert scheduler.submit(first, 0.0)
    assert scheduler.submit(entry(), 0.0)
    assert not scheduler.submit(entry(), 0.0)
    scheduler.cancel(first)
    assert scheduler.submit(entry(), 0.0)


def test_what_expired_is_never_computed() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=4, max_queue=8)
    late, alive = entry(deadline=1.0), entry(deadline=9.0)
    scheduler.submit(late, 0.0)
    scheduler.submit(alive, 0.0)
    assert scheduler.next_deadline == 1.0
    assert scheduler.next_batch(2.0) == [alive]
    assert scheduler.expire(2.0) == [late]
    assert scheduler.expire(20.0) == []


def test_work_of_a_dead_executor_is_first_again_in_order_with_fewer_mates() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=4, max_queue=8)
    entries = [entry() for _ in range(4)]
    for one in entries:
        scheduler.submit(one, 0.0)
    batch = scheduler.next_batch(0.0)
    scheduler.submit(entry(), 0.0)
    assert scheduler.give_back(batch, blame=True) == []
    assert scheduler.next_batch(0.0) == entries[:2]
    assert scheduler.next_batch(0.0) == entries[2:]


def test_an_entry_that_kills_two_executors_alone_is_not_queued_again() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=4, max_queue=8)
    poison, mate = entry(), entry()
    scheduler.submit(poison, 0.0)
    scheduler.submit(mate, 0.0)
    assert scheduler.give_back(scheduler.next_batch(0.0), blame=True) == []
    assert scheduler.next_batch(0.0) == [poison]
    assert scheduler.give_back([poison], blame=True) == []
    assert scheduler.next_batch(0.0) == [poison]
    assert scheduler.give_back([poison], blame=True) == [poison]
    assert scheduler.next_batch(0.0) == [mate]


def test_two_deaths_from_outside_count_against_nobody() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=4, max_queue=8)
    entries = [entry(), entry()]
    for one in entries:
        scheduler.submit(one, 0.0)
    for _ in range(2):
        assert scheduler.give_back(scheduler.next_batch(0.0), blame=False) == []
    assert scheduler.next_batch(0.0) == entries


def test_what_is_killed_again_and_again_is_told_apart_in_the_end() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=4, max_queue=8)
    poison, mate = entry(), entry()
    scheduler.submit(poison, 0.0)
    scheduler.submit(mate, 0.0)
    given_up: list[Entry] = []
    for _ in range(8):
        batch = scheduler.next_batch(0.0)
        if poison in batch:
            given_up += scheduler.give_back(batch, blame=False)
    assert given_up == [poison]


def test_a_pinned_entry_is_for_its_worker_alone() -> None:
    scheduler: Scheduler[Entry] = Scheduler(max_batch=4, max_queue=1)
    canary = entry(pin="replica")
    scheduler.submit(entry(), 0.0)
    assert scheduler.submit(canary, 0.0)
    assert canary not in scheduler.next_batch(0.0)
    assert scheduler.pinned("another") is None
    assert scheduler.pinned("replica") is canary


@pytest.mark.parametrize(("batch", "queue"), [(0, 1), (1, 0)])
def test_limits_below_one_are_refused(batch: int, queue: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Scheduler(max_batch=batch, max_queue=queue)


class AnyUse(RuleBasedStateMachine):
    """Any order of calls: each entry ends exactly once, batches keep the budget and begin with the oldest."""

    waiting = Bundle("waiting")
    computing = Bundle("computing")

    def __init__(self) -> None:
        super().__init__()
        self.scheduler: Scheduler[Entry] = Scheduler(max_batch=6, max_queue=5)
        self.now = 0.0
        self.queued: list[Entry] = []
        self.ended: list[Entry] = []

    @rule(target=waiting, cost=st.integers(1, 9), patience=st.floats(0.5, 5))
    def submit(self, cost: int, patience: float) -> Entry:
        one = entry(cost, self.now + patience)
        if self.scheduler.submit(one, self.now):
            self.queued.append(one)
        else:
            assert len(self.scheduler) >= 5
            one.done = True
        return one

    @rule(seconds=st.floats(0, 2))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=computing)
    def pull(self) -> list[Entry]:
        alive = [one for one in self.queued if one.deadline > self.now]
        batch = self.scheduler.next_batch(self.now)
        assert bool(batch) == bool(alive)
        if batch:
            assert batch[0] is alive[0]
            assert batch == alive[: len(batch)]
            assert len(batch) == 1 or sum(one.cost for one in batch) <= 6
        for one in batch:
            self.queued.remove(one)
        return batch

    @rule(batch=consumes(computing))
    def answer(self, batch: list[Entry]) -> None:
        for one in batch:
            if not one.done:
                assert one not in self.ended
                one.done = True
                self.ended.append(one)

    @rule(batch=consumes(computing), blame=st.booleans())
    def die(self, batch: list[Entry], blame: bool) -> None:
        back = [one for one in batch if not one.done]
        poison = self.scheduler.give_back(batch, blame=blame)
        assert len(poison) <= 1
        assert not poison or len(back) == 1
        self.ended += poison
        for one in poison:
            one.done = True
        self.queued[:0] = [one for one in back if one not in poison]

    @rule(one=waiting)
    def cancel(self, one: Entry) -> None:
        if not one.done:
            self.scheduler.cancel(one)
            self.ended.append(one)
            if one in self.queued:
                self.queued.remove(one)

    @rule()
    def expire(self) -> None:
        for one in self.scheduler.expire(self.now):
            assert one.deadline <= self.now
            assert one not in self.ended
            self.ended.append(one)
            self.queued.remove(one)
        assert all(one.deadline > self.now for one in self.queued)

    @invariant()
    def the_length_is_what_waits(self) -> None:
        assert len(self.scheduler) <= len(self.queued)


TestAnyUse = AnyUse.TestCase
