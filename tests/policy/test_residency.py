"""Who is in memory: nothing over a budget, nobody stopped for nothing, nobody starved."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.policy import residency
from modelyard.policy.residency import MACHINE, Plan, Rate, Resident, Store, Waiting, room
from modelyard.policy.residency import plan as plan_of


def resident(name: str, size: int = 10, **changes: float | bool) -> Resident:
    return Resident(
        name, {MACHINE: size}, reload=1.0, rate=1.0, unused=0.0, awake=100.0
    )._replace(**changes)  # fmt: skip


def waiting(name: str = "new", size: int = 10, waited: float = 0.0) -> Waiting:
    return Waiting(name, ({MACHINE: size},), reload=1.0, waited=waited)


def plan(
    free: float, coming: float, there: list[Resident], queue: list[Waiting], over: float = 0.0
) -> Plan:
    """With the machine's memory alone."""
    return plan_of({MACHINE: Store(1000, free, coming, over)}, there, queue)


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
    assert plan(4, 0, [resident("busy", busy=True)], [waiting(), small]) == Plan((("small", 0),))
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


def on(name: str, device: str, size: int = 10, **changes: float | bool) -> Resident:
    """One that takes as much of a device as of the machine."""
    return resident(name, size, **changes)._replace(bytes={MACHINE: size, device: size})


def two_devices(machine: float, first: float, second: float) -> dict[str, Store]:
    return {MACHINE: Store(1000, machine), "gpu:0": Store(100, first), "gpu:1": Store(100, second)}


def test_all_of_the_stores_that_a_model_takes_of_must_have_room() -> None:
    new = Waiting("new", ({MACHINE: 10, "gpu:0": 10},), 1.0, 0.0)
    assert plan_of(two_devices(10, 10, 0), [], [new]).load == (("new", 0),)
    assert plan_of(two_devices(9, 10, 0), [], [new]) == Plan()
    assert plan_of(two_devices(10, 9, 0), [], [new]) == Plan()


def test_a_store_that_is_over_is_no_matter_for_who_takes_nothing_of_it() -> None:
    new = Waiting("new", ({MACHINE: 10, "elsewhere": 10**9},), 1.0, 0.0)
    assert plan_of(two_devices(10, -5, -5), [], [new]).load == (("new", 0),)


def test_only_who_gives_back_of_a_store_that_is_short_sleeps() -> None:
    there = [on("a", "gpu:1", rate=0.1), resident("b", 500, rate=0.0), on("c", "gpu:0", rate=9.0)]
    new = Waiting("new", ({MACHINE: 10, "gpu:0": 10},), 1.0, 0.0)
    assert plan_of(two_devices(100, 0, 0), there, [new]).sleep == ("c",)
    assert plan_of(two_devices(0, 10, 0), there, [new]).sleep == ("b",)


def test_what_is_scarce_counts_and_what_is_given_back_beside_it_does_not() -> None:
    """Both give back 10 of the device; that one of them is large elsewhere makes it no cheaper."""
    large = Resident("large", {MACHINE: 900, "gpu:0": 10}, 5.0, 1.0, 0.0, 100.0)
    small = Resident("small", {MACHINE: 10, "gpu:0": 10}, 1.0, 1.0, 0.0, 100.0)
    new = Waiting("new", ({MACHINE: 10, "gpu:0": 10},), 1.0, 0.0)
    assert plan_of(two_devices(100, 0, 0), [large, small], [new]).sleep == ("small",)
    both = Waiting("new", ({MACHINE: 800, "gpu:0": 10},), 1.0, 0.0)
    assert plan_of(two_devices(0, 0, 0), [large, small], [both]).sleep == ("large",)


def test_the_way_is_taken_that_has_room_or_costs_least() -> None:
    there = [on("dear", "gpu:0", rate=9.0), on("cheap", "gpu:1", rate=0.1)]
    new = Waiting("new", ({MACHINE: 10, "gpu:0": 10}, {MACHINE: 10, "gpu:1": 10}), 1.0, 0.0)
    assert plan_of(two_devices(100, 10, 10), there, [new]).load == (("new", 0),)
    assert plan_of(two_devices(100, 0, 10), there, [new]) == Plan((("new", 1),))
    assert plan_of(two_devices(100, 0, 0), there, [new]) == Plan((), ("cheap",))
    busy = [there[0]._replace(busy=True), there[1]._replace(kept=True)]
    assert plan_of(two_devices(100, 0, 0), busy, [new]) == Plan()
    assert plan_of(two_devices(100, 0, 0), busy, [new._replace(waited=9.0)]).give_way == ("dear",)


def test_who_waits_for_one_device_holds_nobody_up_on_another() -> None:
    there = [on("busy", "gpu:0", busy=True), on("idle", "gpu:1")]
    first = Waiting("first", ({MACHINE: 10, "gpu:0": 10},), 1.0, 0.0)
    second = Waiting("second", ({MACHINE: 10, "gpu:1": 10},), 1.0, 0.0)
    third = Waiting("third", ({MACHINE: 10, "gpu:0": 10},), 1.0, 0.0)
    assert plan_of(two_devices(100, 5, 5), there, [first, second, third]).sleep == ("idle",)
    # What the first is to have is not given to the second: neither of its device nor beside it.
    there[0] = there[0]._replace(busy=False)
    assert plan_of(two_devices(15, 5, 10), there, [first, second]) == Plan((), ("busy",))


def test_what_sleeps_for_one_gives_back_beside_it_what_another_lacks() -> None:
    there = [on("a", "gpu:0"), on("b", "gpu:1", rate=0.1)]
    first = Waiting("first", ({MACHINE: 0, "gpu:0": 10},), 1.0, 0.0)
    second = Waiting("second", ({MACHINE: 10},), 1.0, 0.0)
    assert plan_of(two_devices(0, 0, 0), there, [first, second]).sleep == ("a",)


def test_each_store_that_models_grew_over_is_seen_to_although_another_cannot_be() -> None:
    stores = {MACHINE: Store(100, -5, over=5), "gpu:0": Store(100, -5, over=5)}
    there = [on("busy", "gpu:0", busy=True), resident("idle")]
    assert plan_of(stores, there, []).sleep == ("idle",)
    both = [on("both", "gpu:0", rate=2.0), resident("idle", rate=1.0)]
    assert plan_of(stores, both, []).sleep == ("both",), "one is enough for both"


NAMES = (MACHINE, "gpu:0", "gpu:1")
SIZES = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 50), max_size=3)
RESIDENTS = st.lists(
    st.builds(
        Resident,
        name=st.integers().map(str),
        bytes=SIZES,
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
        ways=st.lists(
            st.dictionaries(st.sampled_from(NAMES), st.integers(0, 120), min_size=1, max_size=3),
            min_size=1,
            max_size=3,
        ).map(tuple),
        reload=st.floats(0, 10),
        waited=st.floats(0, 100),
    ),
    max_size=6,
    unique_by=lambda each: each.name,
)
STORES = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(
        Store,
        budget=st.integers(1, 500),
        free=st.integers(-50, 100),
        coming=st.integers(0, 100),
        over=st.integers(0, 20),
    ),
    min_size=1,
)


def gain(names: tuple[str, ...], known: dict[str, Resident], store: str) -> float:
    return sum(known[name].bytes.get(store, 0) for name in names)


@given(STORES, RESIDENTS, QUEUE)
def test_what_holds_of_every_plan(
    stores: dict[str, Store], there: list[Resident], queue: list[Waiting]
) -> None:
    found = plan_of(stores, there, queue)
    known = {each.name: each for each in there}
    needs = {each.name: each for each in queue}
    # Never over a budget.
    for name, store in stores.items():
        taken = sum(needs[each].ways[way].get(name, 0) for each, way in found.load)
        assert taken <= max(0, store.free)
    assert len({*found.sleep, *found.give_way}) == len(found.sleep + found.give_way)
    for name in found.sleep:
        assert not known[name].busy
    for name in found.give_way:
        assert known[name].busy
        assert known[name].awake >= residency.SHORTEST
    for name in found.sleep + found.give_way:
        assert not known[name].kept
        assert any(known[name].bytes.get(store, 0) > 0 for store in stores)
    # The first that waits is served, made room for, or there is none that may be made.
    over = any(store.over or store.free < 0 for store in stores.values())
    if queue and queue[0].name not in dict(found.load) and not over:
        idle = tuple(each.name for each in there if not each.busy and not each.kept)

        def reaches(way: dict[str, float], names: tuple[str, ...]) -> bool:
            return all(
                size <= max(stores[s].free, stores[s].free + stores[s].coming + gain(names, known, s))
                for s, size in way.items()
                if s in stores
            )

        ways = queue[0].ways
        made = any(reaches(way, found.sleep + found.give_way) for way in ways)
        assert made or not any(reaches(way, idle) for way in ways)


@given(STORES, RESIDENTS, QUEUE.filter(bool))
def test_nobody_is_stopped_who_is_not_needed_for_it(
    stores: dict[str, Store], there: list[Resident], queue: list[Waiting]
) -> None:
    calm = {name: store._replace(over=0) for name, store in stores.items()}
    known = {each.name: each for each in there}
    found = plan_of(calm, there, queue[:1])
    stopped = found.sleep + found.give_way

    def enough(names: tuple[str, ...]) -> bool:
        return any(
            all(
                size <= max(calm[s].free, calm[s].free + calm[s].coming + gain(names, known, s))
                for s, size in way.items()
                if s in calm
            )
            for way in queue[0].ways
        )

    for name in stopped:
        assert enough(stopped)
        assert not enough(tuple(each for each in stopped if each != name)) or len(queue[0].ways) > 1


@given(STORES, RESIDENTS.filter(bool), QUEUE)
def test_who_waits_first_is_in_at_last_where_it_fits_at_all(
    stores: dict[str, Store], there: list[Resident], queue: list[Waiting]
) -> None:
    """However many wait behind it, and all of them busy: each turn ends, and nobody overtakes for ever."""
    there = [each._replace(kept=False, awake=1e6) for each in there]
    calm = {name: store._replace(over=0, coming=0) for name, store in stores.items()}
    first = Waiting("first", ({name: store.budget for name, store in calm.items()},), 1.0, 1e6)
    queue = [first, *queue]
    inside = {each.name: each for each in there}
    used = {name: sum(each.bytes.get(name, 0) for each in there) for name in calm}
    budgets = {name: max(calm[name].budget, used[name]) for name in calm}
    for _ in range(3 * len(there) + 3 * len(queue)):
        used = {name: sum(each.bytes.get(name, 0) for each in inside.values()) for name in calm}
        now = {name: Store(budgets[name], budgets[name] - used[name]) for name in calm}
        found = plan_of(now, list(inside.values()), queue)
        for name, way in found.load:
            if name == "first":
                return
            (new,) = (each for each in queue if each.name == name)
            queue.remove(new)
            inside[name] = Resident(name, new.ways[way], 1.0, 9.0, 0.0, 1e6, busy=True)
        for name in found.sleep + found.give_way:
            del inside[name]
    raise AssertionError("the first never came in")


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
