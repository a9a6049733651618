"""Retries within a budget, only of what another attempt can help, never past the deadline."""

from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import ERROR_KINDS
from modelyard.policy.retries import Latencies, RetryBudget, hedge_after, wait_before_retry


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=300),
    st.floats(0, 1),
    st.floats(0, 5),
    st.floats(0, 20),
)
def test_retries_stay_a_share_of_the_calls(steps, share, least, burst) -> None:
    budget = RetryBudget(share, least=least, burst=burst)
    now, calls, retries = 0.0, 0, 0
    for is_call, passed in steps:
        now += passed
        if is_call:
            calls += 1
            budget.called(now)
        else:
            retries += budget.take(now)
        assert retries <= share * calls + least * now + burst + 1e-6


def test_a_brown_out_is_not_amplified() -> None:
    budget = RetryBudget(0.1)
    tried = 0
    for number in range(1000):  # 1000 calls in a second, every one of which fails
        budget.called(number / 1000)
        tried += budget.take(number / 1000)
    assert tried <= 0.1 * 1000 + 1 + 10


def test_a_share_of_nothing_is_no_retry_at_all() -> None:
    budget = RetryBudget(0.0)
    budget.called(0.0)
    assert not budget.take(100.0)


def test_only_what_another_attempt_can_help_is_tried_again() -> None:
    again = {
        code
        for code in ERROR_KINDS
        if wait_before_retry(code, None, attempt=1, attempts=3, left=10, others=True) is not None
    }
    assert again == {"unavailable", "overloaded"}


def test_another_backend_is_asked_at_once_the_same_one_after_what_it_said() -> None:
    assert wait_before_retry("overloaded", 2.0, attempt=1, attempts=3, left=10, others=True) == 0.0
    assert wait_before_retry("overloaded", 2.0, attempt=1, attempts=3, left=10, others=False) == 2.0


@given(
    st.sampled_from(sorted(ERROR_KINDS)),
    st.none() | st.floats(0, 100),
    st.integers(1, 50),
    st.floats(-1, 100),
    st.booleans(),
)
def test_no_attempt_is_planned_past_the_deadline_or_the_last_attempt(
    code, retry_after, attempt, left, others
) -> None:
    wait = wait_before_retry(code, retry_after, attempt=attempt, attempts=5, left=left, others=others)
    if wait is not None:
        assert attempt < 5
        assert 0 <= wait < left


def test_a_hedge_comes_after_the_time_said_or_what_calls_take() -> None:
    latencies = Latencies()
    assert hedge_after(None, latencies) is None
    assert hedge_after(0.3, latencies) == 0.3
    assert hedge_after(0.0, latencies) is None  # nothing is known yet
    for number in range(100):
        latencies.add(number / 100)
    assert 0.9 <= hedge_after(0.0, latencies) <= 0.99
