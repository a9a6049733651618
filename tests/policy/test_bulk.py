"""Work that nobody waits for never delays what somebody waits for, and does not starve."""

from modelyard.policy.due import PATIENT
from modelyard.policy.work import BULK, Entry
from policy.queues import law, queue


def bulk(rows: int = 1, *, deadline: float = 1e9) -> Entry:
    return Entry(rows, deadline, bulk=True)


def call(*, priority: int = 0) -> Entry:
    return Entry(1, 1e9, priority=priority)


def test_bulk_is_below_all_levels() -> None:
    assert bulk().level == BULK > call(priority=1000).level


def test_calls_go_before_bulk_that_came_long_before() -> None:
    scheduler = queue(4, 16)
    old = [bulk() for _ in range(3)]
    for entry in old:
        scheduler.submit(entry, 0.0)
    late = call(priority=9)
    scheduler.submit(late, PATIENT / 2)
    assert scheduler.next_batch(PATIENT / 2) == [late]  # alone: bulk work does not ride with it
    assert scheduler.next_batch(PATIENT / 2) == old


def test_bulk_has_its_turn_after_its_patience() -> None:
    scheduler = queue(1, 16)
    old = bulk()
    scheduler.submit(old, 0.0)
    for second in range(int(PATIENT) - 5):
        scheduler.submit(call(), float(second))
        assert scheduler.next_batch(float(second)) != [old]
    scheduler.submit(call(), PATIENT)
    assert scheduler.next_batch(PATIENT) == [old]


def test_a_worker_that_takes_no_bulk_gets_calls_alone() -> None:
    scheduler = queue(4, 16)
    scheduler.submit(bulk(), 0.0)
    assert scheduler.next_batch(0.0, bulk=False) == []
    assert scheduler.bulk == 1
    someone = call()
    scheduler.submit(someone, 1.0)
    assert scheduler.next_batch(2 * PATIENT, bulk=False) == [someone]
    assert len(scheduler.next_batch(2 * PATIENT)) == 1
    assert scheduler.bulk == 0


def test_an_urgent_bulk_entry_is_nothing_to_a_worker_that_takes_none() -> None:
    scheduler = queue(1, 16)
    near, someone = bulk(deadline=1.0), call()
    scheduler.submit(near, 0.0)
    scheduler.submit(someone, 0.0)
    assert scheduler.next_batch(0.5, law(a=0.1, b=0.01), bulk=False) == [someone]


def test_bulk_rides_with_bulk() -> None:
    scheduler = queue(8, 16)
    entries = [bulk() for _ in range(5)]
    for entry in entries:
        scheduler.submit(entry, 0.0)
    assert scheduler.next_batch(0.0) == entries
