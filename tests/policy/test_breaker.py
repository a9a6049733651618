"""The circuit breaker: when it opens, whom it lets through, and that unknown is not failure."""

from hypothesis import given
from hypothesis import strategies as st

from modelyard.policy.breaker import Breaker


def opened(now: float = 0.0, **options: float) -> Breaker:
    breaker = Breaker(**options)  # type: ignore[arg-type]
    for _ in range(5):
        breaker.failed(breaker.admit(now), now)
    assert breaker.state(now) == "open"
    return breaker


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(consecutive=3)
    for _ in range(2):
        breaker.failed(breaker.admit(0.0), 0.0)
    breaker.succeeded(breaker.admit(0.0), 0.0)
    for _ in range(2):
        breaker.failed(breaker.admit(0.0), 0.0)
    assert breaker.state(0.0) == "closed"
    breaker.failed(breaker.admit(0.0), 0.0)
    assert breaker.state(0.0) == "open"
    assert breaker.admit(0.5) is None


def test_it_opens_when_half_of_enough_calls_fail() -> None:
    breaker = Breaker(consecutive=100, rate=0.5, least=10)
    for number in range(9):
        mark = breaker.admit(number)
        (breaker.failed if number % 2 else breaker.succeeded)(mark, number * 0.1)
    assert breaker.state(1.0) == "closed"  # nine are not enough to judge by
    breaker.failed(breaker.admit(1.0), 1.0)
    assert breaker.state(1.0) == "open"


def test_old_outcomes_are_forgotten() -> None:
    breaker = Breaker(consecutive=100, rate=0.5, least=10, window=10.0)
    for _ in range(9):
        breaker.failed(breaker.admit(0.0), 0.0)
    for _ in range(9):
        breaker.failed(breaker.admit(20.0), 20.0)
    assert breaker.state(20.0) == "closed"


def test_half_open_lets_a_few_probes_through_and_closes_when_they_pass() -> None:
    breaker = opened(probes=2, open_first=1.0)
    assert breaker.admit(0.9) is None
    first, second = breaker.admit(1.0), breaker.admit(1.0)
    assert first is not None and second is not None
    assert breaker.admit(1.0) is None
    assert not breaker.available(1.0)
    breaker.succeeded(first, 1.1)
    assert breaker.state(1.1) == "half_open"
    breaker.succeeded(second, 1.1)
    assert breaker.state(1.1) == "closed"


def test_a_failed_probe_opens_it_for_longer() -> None:
    breaker = opened(open_first=1.0, open_limit=3.0)
    now, waits = 1.0, []
    for _ in range(4):
        breaker.failed(breaker.admit(now), now)
        waits.append(breaker.opens_in(now))
        now += waits[-1]
    assert waits == [2.0, 3.0, 3.0, 3.0]


def test_unknown_is_neither_success_nor_failure_but_gives_the_probe_back() -> None:
    breaker = Breaker(consecutive=1)
    for _ in range(100):
        breaker.unknown(breaker.admit(0.0))
    assert breaker.state(0.0) == "closed"
    breaker = opened(probes=1)
    mark = breaker.admit(1.0)
    assert breaker.admit(1.0) is None
    breaker.unknown(mark)
    assert breaker.state(1.0) == "half_open"
    assert breaker.admit(1.0) is not None


def test_what_was_sent_before_it_opened_does_not_close_it() -> None:
    breaker = Breaker()
    late = breaker.admit(0.0)
    for _ in range(5):
        breaker.failed(breaker.admit(0.0), 0.0)
    breaker.succeeded(late, 0.5)
    assert breaker.state(0.5) == "open"
    breaker.failed(late, 5.0)
    assert breaker.state(5.0) == "half_open"


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "unknown"]), st.floats(0, 5), st.integers(0, 7))))
def test_probes_are_never_more_than_allowed_and_time_always_reopens_it(steps) -> None:
    breaker = Breaker(consecutive=2, probes=2, open_first=1.0, open_limit=4.0)
    now, out = 0.0, []
    for outcome, passed, which in steps:
        now += passed
        was = breaker.state(now)
        mark = breaker.admit(now)
        assert (mark is None) or was != "open"
        if mark is not None:
            out.append(mark)
        assert 0 <= breaker._probing <= 2
        if out and which < len(out):
            ended = out.pop(which)
            if outcome == "ok":
                breaker.succeeded(ended, now)
            elif outcome == "fail":
                breaker.failed(ended, now)
            else:
                breaker.unknown(ended)
    for ended in out:
        breaker.unknown(ended)
    now += 4.0  # no open time is longer
    for _ in range(2):
        breaker.succeeded(breaker.admit(now), now)
    assert breaker.state(now) == "closed"
