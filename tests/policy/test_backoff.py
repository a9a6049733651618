"""Restarting after failures: longer and longer waits, forgotten after a calm time."""

import pytest

from modelyard.policy.backoff import Backoff


def test_waits_double_up_to_the_limit() -> None:
    backoff = Backoff(first=0.5, factor=2, limit=3)
    assert [backoff.failed(0.0) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_calm_time_starts_the_count_again() -> None:
    backoff = Backoff(first=0.5, calm=60)
    backoff.failed(0.0)
    backoff.failed(1.0)
    backoff.succeeded(10.0)
    assert backoff.failed(70.0) == 0.5


def test_a_short_success_does_not() -> None:
    backoff = Backoff(first=0.5, calm=60)
    backoff.failed(0.0)
    backoff.succeeded(10.0)
    assert backoff.failed(20.0) == 1.0


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(limit=30)
    assert {backoff.failed(float(n)) for n in range(2000)} >= {30.0}


@pytest.mark.parametrize("wrong", [{"first": 0}, {"factor": 0.5}, {"first": 2, "limit": 1}])
def test_senseless_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="back-off"):
        Backoff(**wrong)
