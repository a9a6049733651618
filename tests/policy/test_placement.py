"""Where executors run: nothing is oversubscribed, work is spread, devices come and go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.policy.placement import DeviceHealth, place, spread, ways

CORES = st.lists(st.integers(0, 255), min_size=1, max_size=64, unique=True)
DEVICES = st.lists(st.sampled_from([f"cuda:{number}" for number in range(8)]), unique=True, max_size=8)


@given(replicas=st.integers(1, 32), cores=CORES, devices=DEVICES)
def test_no_core_is_given_twice_while_there_are_enough(replicas, cores, devices):
    seats = place(replicas, devices=devices, cores=cores)
    assert len(seats) == replicas
    for seat in seats:
        assert seat.threads >= 1
        if seat.cores is not None:
            assert seat.cores <= set(cores) and len(seat.cores) == seat.threads
    if len(cores) > 2 and replicas < len(cores):
        given_out = [core for seat in seats for core in seat.cores or ()]
        assert len(given_out) == len(set(given_out)) == len(cores) - 1
        assert min(cores) not in given_out, "the first is the node's"


@given(replicas=st.integers(1, 32), cores=CORES, devices=DEVICES)
def test_threads_and_cores_differ_by_one_at_most(replicas, cores, devices):
    threads = [seat.threads for seat in place(replicas, devices=devices, cores=cores)]
    assert max(threads) - min(threads) <= 1
    assert sum(threads) <= max(replicas, len(cores))


@given(replicas=st.integers(1, 32), devices=DEVICES, seated=st.dictionaries(st.sampled_from(
    [f"cuda:{number}" for number in range(8)]), st.integers(0, 5)))  # fmt: skip
def test_devices_are_filled_from_the_emptiest(replicas, devices, seated):
    seats = place(replicas, devices=devices, cores=range(64), on_device=seated)
    counts = {device: seated.get(device, 0) for device in devices or ["cpu"]}
    for seat in seats:
        assert counts[seat.device] == min(counts.values())
        counts[seat.device] += 1


@given(replicas=st.integers(1, 8), taken=st.dictionaries(st.integers(1, 7), st.integers(0, 3)))
def test_the_cores_of_other_pools_are_taken_last(replicas, taken):
    seats = place(replicas, devices=(), cores=range(8), threads=1, on_core=taken)
    busy = {core: taken.get(core, 0) for core in range(1, 8)}
    for seat in seats:
        (core,) = seat.cores or ()
        assert busy[core] == min(busy.values())
        busy[core] += 1


def test_a_replica_goes_to_the_device_with_the_most_bytes_free():
    free = {"a": 50.0, "b": 80.0, "c": 80.0}
    assert spread(1, "abc", {"b": 2, "c": 1}, free, 10) == ("c",)
    assert spread(1, "abc", {}, free, 10) == ("b",)
    assert spread(1, "abc", {}, free, 90) == ("b",), "where it fits nowhere, where least is missing"
    assert spread(1, "abcd", {}, free, 10) == ("d",), "no limit is known of d"


def test_replicas_of_one_pool_share_a_device_only_where_they_fit_on_no_other():
    assert spread(2, "ab", {}, {"a": 90.0, "b": 30.0}, 10) == ("a", "b")
    assert spread(3, "ab", {}, {"a": 90.0, "b": 15.0}, 10) == ("a", "b", "a")
    assert spread(2, "ab", {}, {"a": 90.0, "b": 5.0}, 10) == ("a", "a")


@given(
    replicas=st.integers(1, 6),
    devices=DEVICES.filter(bool),
    free=st.dictionaries(st.sampled_from([f"cuda:{number}" for number in range(8)]), st.integers(-5, 50)),
    needs=st.integers(0, 30),
)
def test_no_replica_goes_where_it_does_not_fit_while_it_fits_elsewhere(replicas, devices, free, needs):
    left = {device: free.get(device, float("inf")) for device in devices}
    for device in spread(replicas, devices, {}, free, needs):
        assert left[device] >= needs or max(left.values()) < needs
        left[device] -= needs


def test_the_ways_of_one_replica_are_all_devices_the_best_first():
    now, later = {"a": 5.0, "b": 20.0, "c": 10.0}, {"a": 100.0, "b": 20.0, "c": 10.0}
    assert ways(1, "abc", {}, [now, later], 50) == [("b",), ("a",), ("c",)]
    assert ways(2, "abc", {}, [now, later], 50) == [("b", "c"), ("a", "a")]
    assert ways(2, (), {}, [{}], 50) == [("cpu", "cpu")]


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_on_two_cores_nobody_is_pinned_and_each_has_one_thread(cores, replicas):
    seats = place(replicas, devices=(), cores=range(cores))
    assert [(seat.cores, seat.threads) for seat in seats] == [(None, 1)] * replicas


def test_what_a_user_says_of_threads_is_done():
    (seat,) = place(1, devices=(), cores=range(4), threads=2)
    assert (seat.threads, len(seat.cores or ())) == (2, 2)
    (seat,) = place(1, devices=(), cores=range(4), threads=9)
    assert (seat.threads, seat.cores) == (9, None)


def test_nonsense_is_refused():
    for replicas, cores, threads in ((0, [1], None), (1, [], None), (1, [1], 0)):
        with pytest.raises(ValueError, match="placement"):
            place(replicas, devices=(), cores=cores, threads=threads)


def test_a_device_that_fails_twice_is_left_out_and_tried_again_later_and_later():
    health = DeviceHealth(["cuda:0", "cuda:1"], first=30.0)
    health.failed("cuda:0", 0.0)
    assert health.usable(0.0) == ("cuda:0", "cuda:1")
    health.failed("cuda:0", 1.0)
    assert health.usable(1.0) == ("cuda:1",)
    assert health.left_out(1.0) == ("cuda:0",)
    assert health.next_trial(1.0) == 31.0
    assert health.usable(31.0) == ("cuda:0", "cuda:1")
    health.failed("cuda:0", 40.0)
    assert health.next_trial(40.0) == 100.0, "one failed trial is enough, and the wait has doubled"


def test_a_device_that_works_again_is_as_good_as_any():
    health = DeviceHealth(["cuda:0", "cuda:1"])
    health.failed("cuda:0", 0.0)
    health.failed("cuda:0", 0.0)
    health.ready("cuda:0", 31.0)
    health.failed("cuda:0", 40.0)
    assert health.usable(40.0) == ("cuda:0", "cuda:1")


def test_when_all_devices_fail_all_may_be_used():
    health = DeviceHealth(["cuda:0", "cuda:1"])
    for device in ("cuda:0", "cuda:1") * 2:
        health.failed(device, 0.0)
    assert health.usable(1.0) == ("cuda:0", "cuda:1")


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.booleans(), st.floats(0, 1000)), max_size=60)
)
def test_there_is_always_a_device_and_one_left_out_has_a_time(events):
    health, now = DeviceHealth(["a", "b", "c"]), 0.0
    for device, works, later in events:
        now += later
        (health.ready if works else health.failed)(device, now)
        assert health.usable(now)
        assert bool(health.left_out(now)) == (health.next_trial(now) < float("inf"))
        if health.left_out(now):
            assert now < health.next_trial(now) <= now + 900
