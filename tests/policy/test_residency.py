"""Who is in memory: nothing over the budget, nobody stopped for nothing, nobody starved."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.policy import residency
from modelyard.policy.residency import Plan, Rate, Resident, Waiting, plan, room


def resident(name: str, size: int = 10, **changes: float | bool) -> Resident:
    return Resident(name, size, reload=1.0, rate=1.0, unused=0.0, awake=100.0)._replace(**changes)


def waiting(name: str = "new", size: int = 10, waited: float = 0.0) -> Waiting:
    return Waiting(name, size, reload=1.0, waited=waited)


def test_what_fits_is_loaded_and_nothing_sleeps_for_it() -> None:
    assert plan(26, 0, [resident("a")], [waiting("x"), waiting("y"), waiting("z", 6)]).sleep == ()


def test_the_one_whose_load_costs_least_a_byte_sleeps() -> None:
    rare, slow, large = resident("rare", rate=0.1), resident("slow", reload=9.0), resident("large", 100)
    assert plan(0, 0, [slow, rare, resident("plain")], [waiting()]).sleep == ("rare",)
    assert plan(0, 0, [slow, resident("plain"), large], [waiting()]).sleep == ("large",)
    never = [resident("early", rate=0.0, unused=50), resident("late", rate=0.0, unused=5)]
    assert plan(0, 0, never, [waiting()]).sleep == ("early",)


def test_no_more_sleep_than_is_needed() -> None:
    some = [resident("a", 4, rate=0.1), resident("b", 4, rate=0.2), resident("c", 10, rate=9.0)]
    assert plan(0, 0, some, [waiting(size=8)]).sleep == ("a", "b")
    assert plan(0, 0, some, [waiting(size=9)]).sleep == ("c",)  # which alone is enough
    assert plan(0, 8, some, [waiting(size=8)]) == Plan()  # it comes without anybody
    assert plan(5, 0, some, [waiting(size=8)]).sleep == ("a",)


def test_busy_and_kept_ones_do_not_sleep() -> None:
    there = [resident("busy", busy=True), resident("kept", kept=True)]
    assert plan(0, 0, there, [waiting()]) == Plan()
    assert room(there) == 10


def test_others_have_what_is_free_only_while_the_first_cannot_be_served() -> None:
    small = waiting("small", 2)
    assert plan(4, 0, [resident("busy", busy=True)], [waiting(), small]) == Plan(("small",))
    assert plan(4, 0, [resident("idle")], [waiting(), small]) == Plan((), ("idle",))
    assert plan(4, 6, [], [waiting(), small]) == Plan()


def test_a_busy_one_gives_way_when_its_turn_is_over_and_another_has_waited() -> None:
    busy = resident("busy", busy=True)
    assert plan(0, 0, [busy], [waiting(waited=residency.PATIENCE)]).give_way == ("busy",)
    assert plan(0, 0, [busy], [waiting(waited=0.9 * residency.PATIENCE)]) == Plan()
    assert plan(0, 0, [busy._replace(awake=7.9)], [waiting(waited=60)]) == Plan()
    assert plan(0, 0, [busy._replace(kept=True)], [waiting(waited=60)]) == Plan()
    both = [busy, resident("idle", 6, rate=99.0)]
    assert plan(0, 0, both, [waiting(size=12, waited=60)]) == Plan((), ("idle",), ("busy",))


def test_models_that_grew_over_the_budget_send_idle_ones_to_sleep() -> None:
    assert plan(-5, 0, [resident("a"), resident("b", rate=0.5)], [], over=5).sleep == ("b",)
    assert plan(-5, 0, [resident("a")], []) == Plan()  # within the margin
    assert plan(-5, 0, [resident("a", busy=True)], [], over=5) == Plan()


RESIDENTS = st.lists(
    st.builds(
        Resident,
        name=st.integers().map(str),
        bytes=st.integers(0, 50),
        reload=st.floats(0, 10),
        rate=st.floats(0, 100),
        unused=st.floats(0, 1000),
        awake=st.floats(0, 1000),
        busy=st.booleans(),
        kept=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda each: each.name,
)
QUEUE = st.lists(
    st.builds(
        Waiting,
        name=st.integers().map(lambda number: f"new {number}"),
        bytes=st.integers(0, 120),
        reload=st.floats(0, 10),
        waited=st.floats(0, 100),
    ),
    max_size=6,
    unique_by=lambda each: each.name,
)


@given(st.integers(-50, 100), st.integers(0, 100), RESIDENTS, QUEUE)
def test_what_holds_of_every_plan(
    free: int, coming: int, there: list[Resident], queue: list[Waiting]
) -> None:
    found = plan(free, coming, there, queue)
    known = {each.name: each for each in there}
    needs = {each.name: each for each in queue}
    assert sum(needs[name].bytes for name in found.load) <= max(0, free)
    assert not {*found.sleep} & {*found.give_way}
    for name in found.sleep:
        assert not known[name].busy
    for name in found.give_way:
        assert known[name].busy
        assert known[name].awake >= residency.SHORTEST
    for name in found.sleep + found.give_way:
        assert not known[name].kept
    # The first that waits is served, made room for, or there is none that may be made.
    if queue and queue[0].name not in found.load and free >= 0:
        gained = sum(known[name].bytes for name in found.sleep + found.give_way)
        idle = sum(each.bytes for each in there if not each.busy and not each.kept)
        assert free + coming + gained >= queue[0].bytes or free + coming + idle < queue[0].bytes


def test_two_under_constant_load_that_fit_one_at_a_time_take_turns() -> None:
    """A quarter of the time at most goes to loading, and neither waits for longer than the other's turn."""
    now, awake_at, waits_at, inside, loads = 0.0, 0.0, 0.0, "a", 0
    turns = {"a": 0.0, "b": 0.0}
    while now < 1000:
        other = "b" if inside == "a" else "a"
        there = resident(inside, busy=True, awake=now - awake_at)
        if plan(0, 0, [there], [waiting(other, waited=now - waits_at)]).give_way:
            now += 1.0  # its load
            loads += 1
            inside, awake_at, waits_at = other, now, now
        now += 0.05
        turns[inside] += 0.05
    assert loads <= 1000 / 8
    assert min(turns.values()) > 400


def test_the_rate_of_calls_forgets() -> None:
    rate = Rate(0.0)
    for second in range(1, 2001):
        rate.add(5, float(second))
    assert rate.at(2000.0) == pytest.approx(5, rel=0.02)
    assert rate.at(2000.0 + residency.MEMORY) == pytest.approx(2.5, rel=0.02)
    assert rate.last == 2000.0
    rate.add(0, 1e6)
    assert rate.at(1e6) < 1e-9
    assert rate.last == 2000.0
    assert not math.isnan(rate.at(0.0))
