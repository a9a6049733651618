"""What the scheduler is worth, on a virtual clock: useful share, the offline limit, several devices."""

import math

import pytest

from policy.virtual import Devices, Law, lengths, offline

ACCELERATOR: Law = (8e-3, 1e-6, 0.0)
TEXTS = lengths(5000, 60, 250)
BEFORE = lengths(3000, 60, 250, seed=7)  # what the node has served before


def test_nine_tenths_of_what_is_computed_is_useful() -> None:
    """20,000 lengths of proteins, a padded budget of 16,384, a window of 256, nothing known of the device:
    first come first served 0.37, the nearest lengths to the oldest 0.87."""
    outcome = Devices((0.0, 1e-6, 0.0), cost=16384).compute(lengths(20000, 299, 1030), learn=False)
    assert outcome.share >= 0.90


@pytest.mark.parametrize(
    "law", [ACCELERATOR, (2e-4, 8e-5, 1e-7), (1e-3, 1e-4, 0.0), (2e-3, 2e-5, 2e-8)], ids=str
)
def test_the_best_batches_are_found_whatever_the_device(law: Law) -> None:
    devices = Devices(law)
    devices.compute(BEFORE)
    assert offline(TEXTS, law) / devices.compute(TEXTS).end >= 0.95


def test_eight_devices_are_nearly_eight_times_one() -> None:
    law = (2e-3, 2e-5, 0.0)
    ends = {}
    for count in (1, 8):
        devices = Devices(law, (1.0,) * count)
        devices.compute(BEFORE)
        ends[count] = devices.compute(TEXTS).end
    assert ends[1] / ends[8] >= 7.8


def test_a_slow_device_holds_up_nobody() -> None:
    law = (2e-3, 2e-5, 0.0)
    one, all_eight = Devices(law), Devices(law, (1.0,) * 7 + (3.0,))
    for devices in (one, all_eight):
        devices.compute(BEFORE)
    gain = one.compute(TEXTS).end / all_eight.compute(TEXTS).end
    assert gain >= 0.95 * (7 + 1 / 3)


def test_the_first_batches_of_a_new_model_cost_little() -> None:
    law = (2e-3, 2e-5, 2e-8)
    assert offline(TEXTS, law) / Devices(law).compute(TEXTS).end >= 0.9
    assert math.isfinite(Devices(ACCELERATOR).compute(BEFORE).end)
