"""Any order of calls of the scheduler: nothing lost, nothing twice, nothing starves, the budget kept."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from modelyard.policy.latency import LatencyModel
from modelyard.policy.scheduler import HOPE, Limits, Scheduler
from modelyard.policy.work import Entry, measure
from policy.queues import entry, law


class AnyUse(RuleBasedStateMachine):
    """Any order of calls: each entry ends exactly once, batches keep their bounds, heads are who is due."""

    waiting = Bundle("waiting")
    computing = Bundle("computing")

    @initialize(shape=st.sampled_from(["rows", "padded", "ragged", "quadratic"]), known=st.booleans())
    def begin(self, shape: str, known: bool) -> None:
        self.scheduler: Scheduler[Entry] = Scheduler(Limits(6, 8, 60.0), shape)
        self.scheduler.tried = 1e9
        self.model = law(1e-3, 1e-4, 1e-6) if known else LatencyModel()
        self.now = 0.0
        self.queued: list[Entry] = []
        self.ended: list[Entry] = []

    @rule(
        target=waiting,
        rows=st.integers(1, 9),
        length=st.integers(1, 30),
        patience=st.floats(0.5, 5),
        client=st.sampled_from("abc"),
        priority=st.integers(0, 9),
    )
    def submit(self, rows: int, length: int, patience: float, client: str, priority: int) -> Entry:
        length = 1 if self.scheduler.shape == "rows" else length
        one = entry(rows, self.now + patience, length=length, client=client, priority=priority)
        if self.scheduler.submit(one, self.now) is None:
            self.queued.append(one)
        else:
            assert len(self.scheduler) >= 4
            one.done = True
        for gone in self.scheduler.pushed_out:
            assert gone.done
            assert gone in self.queued
            assert gone is not one
            self.queued.remove(gone)
            self.ended.append(gone)
        self.scheduler.pushed_out.clear()
        return one

    @rule(seconds=st.floats(0, 2))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=computing)
    def pull(self) -> list[Entry]:
        alive = [one for one in self.queued if one.deadline > self.now and not one.done]
        batch = self.scheduler.next_batch(self.now, self.model)
        assert bool(batch) == bool(alive)
        assert len(set(map(id, batch))) == len(batch)
        assert all(one.deadline > self.now for one in batch)
        if len(batch) > 1:
            assert sum(one.rows for one in batch) <= 6
            if self.scheduler.shape != "rows":
                assert measure(self.scheduler.shape, batch).padded <= 60
            assert len(batch) <= min(one.ride for one in batch)
        if batch:
            # Of each level, the first in line is in the batch, or another level or deadline was due.
            # Who would be late even alone has given way to the others.
            alive = [one for one in alive if one in batch or not self.hopeless(one)]
            due = min(one.arrived + one.level for one in alive)
            firsts = [
                min((one for one in alive if one.level == level), key=lambda one: one.key)
                for level in {one.level for one in alive}
            ]
            near = [one for one in alive if one.deadline <= self.now + 2.05]
            assert any(one in batch for one in [*firsts, *near]), due
        for one in batch:
            self.queued.remove(one)
        return batch

    @rule(batch=consumes(computing))
    def answer(self, batch: list[Entry]) -> None:
        if batch:
            self.scheduler.computed(measure(self.scheduler.shape, batch).padded)
        for one in batch:
            if not one.done:
                assert one not in self.ended
                one.done = True
                self.ended.append(one)

    @rule(batch=consumes(computing))
    def memory_runs_out(self, batch: list[Entry]) -> None:
        back = [one for one in batch if not one.done]
        if batch:
            self.scheduler.out_of_memory(batch)
        self.queued[:0] = back

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
            assert one.deadline <= self.now or self.hopeless(one)
            assert one not in self.ended
            self.ended.append(one)
            self.queued.remove(one)
        assert all(one.deadline > self.now for one in self.queued)

    def hopeless(self, one: Entry) -> bool:
        """Whether it would be late even if it were computed now, alone."""
        cost = measure(self.scheduler.shape, (one,))
        return self.model.known and one.deadline < self.now + HOPE * self.model.predict(*cost[:2])

    @invariant()
    def the_length_is_what_waits(self) -> None:
        if hasattr(self, "queued"):
            assert len(self.scheduler) <= len(self.queued)
            assert self.scheduler.units == pytest.approx(
                sum(one.units for one in self.queued if one.waiting)
            )


TestAnyUse = AnyUse.TestCase
