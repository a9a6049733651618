"""The law of a device is found from what its batches took, through noise, stalls and warm-up."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.policy.latency import WARM_UP, LatencyModel


def learnt(a: float, b: float, c: float, *, stalls: float = 0.0, count: int = 400) -> LatencyModel:
    chance = random.Random(4)
    model = LatencyModel()
    for _ in range(count):
        rows, length = chance.randint(1, 64), chance.randint(10, 500)
        padded, squares = rows * length, rows * length * length
        seconds = (a + b * padded + c * squares) * chance.uniform(0.9, 1.1)
        if chance.random() < stalls:
            seconds *= 10
        model.observe(padded, squares, padded, seconds)
    return model


@pytest.mark.parametrize("law", [(8e-3, 1e-6, 0.0), (1e-4, 5e-6, 1e-8), (0.0, 1e-5, 0.0), (1e-2, 0.0, 0.0)])
@pytest.mark.parametrize("stalls", [0.0, 0.03])
def test_predictions_are_right_whatever_the_law(law: tuple[float, float, float], stalls: float) -> None:
    model = learnt(*law, stalls=stalls)
    a, b, c = law
    for rows, length in [(1, 10), (8, 100), (64, 500)]:
        padded, squares = rows * length, rows * length * length
        wanted = a + b * padded + c * squares
        assert model.predict(padded, squares) == pytest.approx(wanted, rel=0.1)
    assert model.error is not None and model.error < 0.12


def test_a_change_of_speed_is_followed() -> None:
    model = learnt(1e-3, 1e-5, 0.0)
    for _ in range(1500):
        model.observe(100, 0, 100, 3 * (1e-3 + 1e-3))
        model.observe(1000, 0, 1000, 3 * (1e-3 + 1e-2))
    assert model.predict(500) == pytest.approx(3 * 6e-3, rel=0.1)


def test_warm_up_counts_nothing() -> None:
    model = LatencyModel()
    for _ in range(WARM_UP):
        model.observe(10, 0, 10, 60.0)
    assert not model.known
    model.observe(10, 0, 10, 0.01)
    assert model.predict(10) == pytest.approx(0.01)


def test_while_all_batches_are_alike_their_time_is_taken_as_fixed() -> None:
    model = LatencyModel()
    for _ in range(50):
        model.observe(1, 0, 1, 1e-3)
    assert model.predict(2) == pytest.approx(1e-3, rel=0.01)


def test_a_new_device_begins_with_the_law_of_another_and_finds_its_own_speed() -> None:
    slow = LatencyModel()
    slow.like(learnt(2e-3, 1e-5, 0.0))
    assert slow.known and not slow.sure
    for rows in (1, 1, 4, 8):
        slow.observe(100 * rows, 0, 100 * rows, 3 * (2e-3 + 1e-3 * rows))
    assert slow.predict(6400) == pytest.approx(3 * (2e-3 + 6.4e-2), rel=0.15)


def test_what_was_learnt_is_kept_and_rubbish_is_refused() -> None:
    model = learnt(1e-3, 1e-5, 1e-8)
    again = LatencyModel.load(json.loads(json.dumps(model.save())))
    assert again.predict(500, 5000) == model.predict(500, 5000)
    assert again.save() == model.save()
    for wrong in [{}, {"law": [1]}, model.save() | {"law": [1, 2, float("nan")]}, model.save() | {"evidence": {"3": [1]}},
                  model.save() | {"speed": "fast"}, model.save() | {"batches": -1},
                  model.save() | {"evidence": [1]}]:  # fmt: skip
        with pytest.raises(ValueError, match="latency model"):
            LatencyModel.load(wrong)


finite = st.floats(0, 1e12)


@settings(max_examples=300)
@given(st.lists(st.tuples(finite, finite, finite, st.floats(-1, 1e6)), max_size=40))
def test_whatever_is_observed_the_law_is_never_negative(
    seen: list[tuple[float, float, float, float]],
) -> None:
    model = LatencyModel()
    for padded, squares, useful, seconds in seen:
        model.observe(padded, squares, useful, seconds)
    assert min(model.a, model.b, model.c) >= 0
    assert model.predict(10, 10) >= 0


def test_a_batch_that_cannot_have_been_computed_changes_nothing() -> None:
    model = learnt(1e-3, 1e-5, 0.0)
    before = model.predict(3200)
    model.observe(3200, 0, 3200, 1e-5)
    for _ in range(40):
        model.observe(3200, 0, 3200, before)
    assert model.predict(3200) == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("factor", [0.2, 3.0, 10.0])
def test_another_speed_is_believed_after_some_tens_of_batches(factor: float) -> None:
    model = learnt(1e-3, 1e-5, 0.0)
    chance = random.Random(1)
    for _ in range(100):
        padded = chance.randint(100, 5000)
        model.observe(padded, 0, padded, factor * (1e-3 + 1e-5 * padded))
    assert model.predict(2000) == pytest.approx(factor * 2.1e-2, rel=0.2)


@pytest.mark.parametrize("quiet", [1_000, 20_000])
def test_a_quiet_night_of_single_calls_does_not_erase_what_large_batches_take(quiet: int) -> None:
    chance = random.Random(1)
    model = LatencyModel()
    for _ in range(64):
        rows = chance.choice([1, 2, 4, 8, 16, 32])
        model.observe(rows, 0, rows, (1e-3 + 8e-3 * rows) * chance.uniform(0.9, 1.1))
    for _ in range(quiet):
        model.observe(1, 0, 1, 9e-3 * chance.uniform(0.9, 1.1))
    assert model.predict(32) == pytest.approx(1e-3 + 8e-3 * 32, rel=0.1)


def test_what_large_batches_bring_is_foreseen_after_single_calls() -> None:
    model = LatencyModel()
    for rows in [1, 2, 4, 8, 16] * 4 + [1] * 500:
        model.observe(100 * rows, 0, 80 * rows, 8e-3 + 1e-6 * 100 * rows)
    assert model.speed == pytest.approx(80 / 8.1e-3, rel=0.01)
    assert model.foreseen(100_000) == pytest.approx(80_000 / 0.108, rel=0.05)
