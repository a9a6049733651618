"""The queue of a pool: nothing lost, nothing twice, fair, urgent in time, the budget kept."""

import pytest

from modelyard.policy.latency import LatencyModel
from modelyard.policy.scheduler import Limits, Scheduler
from modelyard.policy.work import Entry, measure
from policy.queues import entry, law, queue


def test_an_entry_that_waits_alone_is_the_next_batch() -> None:
    scheduler = queue(8, 8)
    only = entry()
    assert scheduler.submit(only, 0.0) is None
    assert scheduler.next_batch(0.0) == [only]
    assert len(scheduler) == 0


def test_what_waits_goes_together_oldest_first_within_the_budget() -> None:
    scheduler = queue(5, 8)
    entries = [entry(2), entry(2), entry(2), entry(1)]
    for one in entries:
        scheduler.submit(one, 0.0)
    assert scheduler.next_batch(0.0) == entries[:2]
    assert scheduler.next_batch(0.0) == entries[2:]


def test_an_entry_over_the_budget_goes_alone() -> None:
    scheduler = queue(4, 8)
    large, small = entry(50), entry(1)
    scheduler.submit(large, 0.0)
    scheduler.submit(small, 0.0)
    assert scheduler.next_batch(0.0) == [large]
    assert scheduler.next_batch(0.0) == [small]


def test_a_full_queue_refuses_and_a_cancelled_entry_makes_room() -> None:
    scheduler = queue(4, 2)
    first = entry()
    assert scheduler.submit(first, 0.0) is None
    assert scheduler.submit(entry(), 0.0) is None
    assert scheduler.submit(entry(), 0.0) == 1.0
    scheduler.cancel(first)
    assert scheduler.submit(entry(), 0.0) is None


def test_what_expired_is_never_computed() -> None:
    scheduler = queue(4, 8)
    late, alive = entry(deadline=1.0), entry(deadline=9.0)
    scheduler.submit(late, 0.0)
    scheduler.submit(alive, 0.0)
    assert scheduler.next_deadline == 1.0
    assert scheduler.next_batch(2.0) == [alive]
    assert scheduler.expire(2.0) == [late]
    assert scheduler.expire(20.0) == []


def test_work_of_a_dead_executor_is_first_again_in_order_with_fewer_mates() -> None:
    scheduler = queue(4, 8)
    entries = [entry() for _ in range(4)]
    for one in entries:
        scheduler.submit(one, 0.0)
    batch = scheduler.next_batch(0.0)
    scheduler.submit(entry(), 0.0)
    assert scheduler.give_back(batch, blame=True) == []
    assert scheduler.next_batch(0.0) == entries[:2]
    assert scheduler.next_batch(0.0) == entries[2:]


def test_an_entry_that_kills_two_executors_alone_is_not_queued_again() -> None:
    scheduler = queue(4, 8)
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
    scheduler = queue(4, 8)
    entries = [entry(), entry()]
    for one in entries:
        scheduler.submit(one, 0.0)
    for _ in range(2):
        assert scheduler.give_back(scheduler.next_batch(0.0), blame=False) == []
    assert scheduler.next_batch(0.0) == entries


def test_what_is_killed_again_and_again_is_told_apart_in_the_end() -> None:
    scheduler = queue(4, 8)
    poison, mate = entry(), entry()
    scheduler.submit(poison, 0.0)
    scheduler.submit(mate, 0.0)
    given_up: list[Entry] = []
    for _ in range(8):
        batch = scheduler.next_batch(0.0)
        if poison in batch:
            given_up += scheduler.give_back(batch, blame=False)
    assert given_up == [poison]


@pytest.mark.parametrize("shape", ["rows", "padded", "ragged"])
def test_a_model_that_answers_otherwise_together_computes_each_alone(shape: str) -> None:
    scheduler: Scheduler[Entry] = Scheduler(Limits(64, 1000, wait=5.0), shape)
    scheduler.apart = True
    entries = [entry() for _ in range(3)]
    for each in entries:
        scheduler.submit(each, 0.0)
    # And none waits for mates, which it will not have.
    assert [scheduler.next_batch(0.0) for _ in range(4)] == [[entries[0]], [entries[1]], [entries[2]], []]


@pytest.mark.parametrize(("batch", "queue"), [(0, 1), (1, 0)])
def test_limits_below_one_are_refused(batch: int, queue: int) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        Scheduler(Limits(batch, queue))


def test_sizes_are_tried_from_below() -> None:
    scheduler: Scheduler[Entry] = Scheduler(Limits(64, 1000))
    for _ in range(100):
        scheduler.submit(entry(), 0.0)
    sizes = []
    while batch := scheduler.next_batch(0.0):
        sizes.append(len(batch))
        scheduler.computed(scheduler.cost.padded)
    assert sizes == [1, 2, 5, 12, 30, 50]


def test_sizes_are_tried_though_each_head_is_longer_than_all_before() -> None:
    """A client that sorts its texts: every head is of a length that was never computed."""
    scheduler: Scheduler[Entry] = Scheduler(Limits(64, 1000), "padded")
    for length in range(1, 200):
        scheduler.submit(entry(length=length), 0.0)
    device, batches = LatencyModel(), 0
    while batch := scheduler.next_batch(0.0, device):
        cost = measure("padded", batch)
        device.observe(cost.padded, cost.squares, cost.useful, 0.01)
        scheduler.computed(cost.padded)
        batches += 1
    assert batches < 30


def test_what_did_not_fit_into_memory_is_halved_and_remembered() -> None:
    scheduler = queue(64, 1000)
    for _ in range(40):
        scheduler.submit(entry(), 0.0)
    batch = scheduler.next_batch(0.0)
    assert len(batch) == 40
    scheduler.out_of_memory(batch)
    assert scheduler.next_batch(0.0) == batch[:20]
    assert scheduler.next_batch(0.0) == batch[20:]


def test_who_comes_back_does_not_stand_in_line_twice() -> None:
    scheduler = queue(64, 1000, shape="padded")
    for number in range(60):
        scheduler.submit(entry(length=1 + number % 7), 0.0)
    scheduler.out_of_memory(scheduler.next_batch(0.0, law(1e-3, 1e-5)))
    seen: list[Entry] = []
    while batch := scheduler.next_batch(0.0, law(1e-3, 1e-5)):
        seen += batch
    assert len(seen) == len(set(map(id, seen))) == 60


def test_who_comes_back_to_an_empty_line_is_first_all_the_same() -> None:
    scheduler = queue(4, 1000)
    for _ in range(400):
        scheduler.submit(entry(), 0.0)
    last: list[Entry] = []
    while batch := scheduler.next_batch(0.0):
        last = batch
    scheduler.give_back(last, blame=False)
    for _ in range(8):
        scheduler.submit(entry(), 0.0)
    assert set(last) <= set(scheduler.next_batch(0.0))


def test_an_idle_pool_refuses_nobody_for_what_was_computed_long_ago() -> None:
    scheduler = queue(1, 100)
    model = law(1e-3, 1e-2)
    scheduler.speed = model.speed
    scheduler.submit(entry(45, deadline=100.0), 0.0)
    scheduler.next_batch(0.0, model)
    for _ in range(2):
        assert scheduler.submit(entry(40, deadline=3601.0), 3600.0) is None


def test_the_ceiling_of_memory_is_lifted_by_and_by() -> None:
    scheduler = queue(64, 1000)
    for _ in range(40):
        scheduler.submit(entry(), 0.0)
    scheduler.out_of_memory(scheduler.next_batch(0.0))
    for _ in range(500):
        scheduler.computed(20.0)
    assert scheduler.ceiling > 40


def test_the_head_takes_the_nearest_lengths_and_nobody_pays_for_a_misfit() -> None:
    scheduler = queue(64, 1000, shape="padded")
    lengths = [100, 900, 101, 99, 880, 102, 30]
    entries = [entry(length=length) for length in lengths]
    for one in entries:
        scheduler.submit(one, 0.0)
    model = law(1e-3, 1e-5)
    first = scheduler.next_batch(0.0, model)
    assert {one.length for one in first} - {30} == {99, 100, 101, 102}
    assert sorted(one.length for one in scheduler.next_batch(0.0, model)) == [880, 900]


def test_a_misfit_stays_at_the_head() -> None:
    scheduler = queue(8, 1000, shape="padded", cost=800)
    misfit = entry(length=5000)
    scheduler.submit(entry(length=100), 0.0)
    scheduler.submit(misfit, 0.0)
    for _ in range(50):
        scheduler.submit(entry(length=100), 0.0)
    assert misfit not in scheduler.next_batch(0.0)
    assert scheduler.next_batch(0.0) == [misfit]


def test_a_large_fixed_cost_makes_large_batches_and_none_makes_small_ones() -> None:
    sizes = {}
    for name, model in {"accelerator": law(8e-3, 1e-6), "core": law(1e-6, 1e-4)}.items():
        scheduler = queue(4096, 4096, shape="padded")
        for number in range(200):
            scheduler.submit(entry(length=50 + number % 100), 0.0)
        sizes[name] = len(scheduler.next_batch(0.0, model))
    assert sizes["accelerator"] > 50
    assert sizes["core"] <= 2


def test_one_client_that_floods_does_not_starve_another() -> None:
    scheduler = queue(4, 1000)
    flood = [entry(client="flood") for _ in range(200)]
    for one in flood:
        scheduler.submit(one, 0.0)
    scheduler.next_batch(0.0)
    calls = [entry(client="other") for _ in range(4)]
    for one in calls:
        scheduler.submit(one, 0.0)
    served: list[Entry] = []
    for _ in range(3):
        served += scheduler.next_batch(0.0)
    assert set(calls) <= set(served)
    assert served[:8].count(calls[0]) == 1


def test_a_full_queue_makes_room_for_who_has_less_of_it() -> None:
    scheduler = queue(4, 10)
    flood = [entry(client="flood") for _ in range(10)]
    for one in flood:
        scheduler.submit(one, 0.0)
    assert scheduler.submit(entry(client="flood"), 0.0) is not None
    assert scheduler.submit(entry(client="other"), 0.0) is None
    assert scheduler.pushed_out == [flood[-1]]
    assert flood[-1].done
    assert len(scheduler) == 10


def test_a_full_queue_makes_room_for_what_is_more_urgent() -> None:
    scheduler = queue(4, 4)
    low = [entry(priority=6) for _ in range(2)]
    for one in [*low, entry(), entry()]:
        scheduler.submit(one, 0.0)
    assert scheduler.submit(entry(priority=1), 0.0) is None
    assert scheduler.pushed_out == [low[-1]]


def test_what_is_not_urgent_is_shed_when_the_queue_is_half_full() -> None:
    scheduler = queue(4, 4)
    for _ in range(2):
        assert scheduler.submit(entry(), 0.0) is None
    assert scheduler.submit(entry(priority=9), 0.0) is not None
    assert scheduler.submit(entry(), 0.0) is None


def test_priorities_go_first_and_age() -> None:
    scheduler = queue(1, 100)
    bulk = entry(priority=9, deadline=1e9)
    scheduler.submit(bulk, 0.0)
    served_at = None
    for second in range(12):
        scheduler.submit(entry(priority=1, deadline=1e9), float(second))
        if scheduler.next_batch(float(second)) == [bulk]:
            served_at = second
    assert served_at == 8  # eight levels of one second each lie between them


def test_the_most_urgent_is_every_second_head_when_its_deadline_is_near() -> None:
    scheduler = queue(1, 100)
    old = [entry(deadline=1e9) for _ in range(4)]
    urgent = [entry(deadline=10.0), entry(deadline=10.01)]
    for one in [*old, *urgent]:
        scheduler.submit(one, 0.0)
    served = [scheduler.next_batch(9.99)[0] for _ in range(4)]
    assert served == [urgent[0], old[0], urgent[1], old[1]]


def test_what_cannot_be_computed_in_time_is_refused_with_the_time_to_come_back() -> None:
    scheduler = queue(4, 100)
    scheduler.speed = 10.0
    for _ in range(50):
        assert scheduler.submit(entry(deadline=100.0), 0.0) is None
    assert scheduler.submit(entry(deadline=2.0), 0.0) == pytest.approx(3.61)
    assert scheduler.submit(entry(deadline=2.0, client="another"), 0.0) is None


def test_a_burst_after_single_calls_is_judged_by_the_batches_that_it_will_make() -> None:
    """8 ms a batch, nearly whatever its size: 100 calls take no longer than one, though 125 a second came."""
    scheduler = queue(1_000, 1_000)
    device = law(8e-3, 1e-5)
    scheduler.devices, scheduler.speed = [device], 125.0
    scheduler.tried = 64.0
    assert all(scheduler.submit(entry(deadline=0.05), 0.0) is None for _ in range(100))
    assert scheduler.seconds(100) == pytest.approx(100 / 64 * 8.64e-3, rel=0.01)
    scheduler.tried = 2.0  # a size that was never computed is not counted on
    assert scheduler.seconds(100) == pytest.approx(50 * 8.02e-3, rel=0.01)
    scheduler.devices = [device, device]
    assert scheduler.seconds(100) == pytest.approx(25 * 8.02e-3, rel=0.01)


def test_no_more_rows_are_foreseen_together_than_a_batch_may_have() -> None:
    scheduler = queue(32, 1_000)
    scheduler.devices, scheduler.speed = [law(0.1, 1e-6)], 320.0
    for _ in range(50):
        scheduler.submit(entry(rows=32, deadline=1e9), 0.0)
    assert scheduler.seconds(50 * 32) == pytest.approx(50 * 0.1, rel=0.01)


@pytest.mark.parametrize("singles", [3, 20, 400])
def test_one_bad_moment_of_a_size_does_not_end_batching(singles: int) -> None:
    """8 ms a batch and 10 µs a row; the first burst of all takes ten times as long."""
    scheduler, device = queue(64, 1_000), LatencyModel()
    sizes: list[int] = []

    def burst(count: int, slow: float = 1.0) -> None:
        for _ in range(count):
            scheduler.submit(entry(deadline=1e9), 0.0)
        while batch := scheduler.next_batch(0.0, device):
            sizes.append(len(batch))
            seconds = (8e-3 + 1e-5 * len(batch)) * (slow if len(batch) > 1 else 1.0)
            device.observe(len(batch), 0, len(batch), seconds)
            scheduler.computed(len(batch))
            scheduler.speed = device.speed

    scheduler.tried = 16.0
    for _ in range(singles):
        burst(1)
    burst(16, slow=10.0)
    for _ in range(400):
        burst(16)
    assert sizes[-1] == 16
    assert device.predict(16) == pytest.approx(8.16e-3, rel=0.1)


def test_a_batch_waits_for_mates_no_longer_than_it_may() -> None:
    scheduler = queue(4, 100, wait=0.5)
    first = entry()
    scheduler.submit(first, 1.0)
    assert scheduler.next_batch(1.0) == []
    assert scheduler.wake_at == 1.5
    scheduler.submit(entry(), 1.2)
    assert scheduler.next_batch(1.3) == []
    assert len(scheduler.next_batch(1.5)) == 2
    for _ in range(4):
        scheduler.submit(entry(), 2.0)
    assert len(scheduler.next_batch(2.0)) == 4


def test_a_batch_that_leaves_something_behind_does_not_wait_for_mates() -> None:
    """Calls of three rows: eleven do not fit into 32, ten are as full as it gets."""
    scheduler = queue(32, 100, wait=0.5)
    for _ in range(20):
        scheduler.submit(entry(rows=3), 0.0)
    assert len(scheduler.next_batch(0.1)) == 10


def test_what_waits_is_spread_over_the_workers() -> None:
    scheduler = queue(64, 1000)
    scheduler.workers = 4
    for _ in range(40):
        scheduler.submit(entry(), 0.0)
    scheduler.speed = 4 * 1000.0
    assert len(scheduler.next_batch(0.0, law(1e-4, 1e-3))) == 4
