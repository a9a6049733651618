"""The choice of a backend: shares by weight, work avoided, and nothing sent to what cannot take it."""

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.policy.routing import Load, choose


def shares(weights: list[float], speeds: list[float], *, every: float, calls: int = 20_000) -> list[float]:
    """Simulate backends that compute one call after the other (seconds a call: ``speeds``)."""
    draw = random.Random(1).random
    loads = [Load() for _ in weights]
    free = [0.0] * len(weights)
    ends: list[tuple[float, int, float]] = []
    got = [0] * len(weights)
    now = 0.0
    for _ in range(calls):
        now += random.Random(now).expovariate(1 / every)
        while ends and ends[0][0] <= now:
            _, index, took = heapq.heappop(ends)
            loads[index].ended(took)
        index = choose(weights, loads, draw)
        assert index is not None
        got[index] += 1
        loads[index].sent()
        begin = max(now, free[index])
        free[index] = begin + speeds[index]
        heapq.heappush(ends, (free[index], index, free[index] - now))
    return [count / calls for count in got]


@pytest.mark.parametrize("weights", [[1, 1], [9, 1], [5, 3, 2], [99, 1]])
def test_backends_that_keep_up_get_their_weights_shares(weights: list[float]) -> None:
    speeds = [0.01 / weight * max(weights) for weight in weights]  # each able to carry its share
    total = sum(weights)
    for every in (0.5, 0.05):
        for share, weight in zip(shares(weights, speeds, every=every), weights, strict=True):
            assert share == pytest.approx(weight / total, abs=0.03)


def test_idle_backends_of_unlike_speed_get_their_weights_shares_too() -> None:
    assert shares([9, 1], [0.01, 0.05], every=1.0)[1] == pytest.approx(0.1, abs=0.02)


def test_a_slow_backend_gets_what_it_can_carry() -> None:
    fast, slow = shares([1, 1], [0.01, 0.1], every=0.0125)  # 80 calls a second; the slow one carries 10
    assert slow < 0.2
    assert fast > 0.8


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_what_has_no_weight_now_gets_nothing(weights, source) -> None:
    loads = [Load() for _ in weights]
    for load in loads:
        for _ in range(source.randrange(5)):
            load.sent()
    index = choose(weights, loads, source.random)
    if index is None:
        assert not any(weights)
    else:
        assert weights[index] > 0


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=6), st.floats(0, 1, exclude_max=True))
def test_any_weights_and_any_draw_give_a_backend(weights, at) -> None:
    index = choose(weights, [Load() for _ in weights], lambda: at)
    assert (index is None) == (not any(weights))


def test_the_less_loaded_of_two_is_taken() -> None:
    loads = [Load(), Load()]
    for load in loads:
        load.sent()
        load.ended(0.1)
    for _ in range(5):
        loads[0].sent()
    assert {choose([1, 1], loads, random.random) for _ in range(50)} == {1}


def test_failing_fast_is_not_being_fast() -> None:
    load = Load()
    load.sent()
    load.ended(0.2)
    load.sent()
    load.ended(None)
    assert load.latency == 0.2
    assert load.work == 0.0
