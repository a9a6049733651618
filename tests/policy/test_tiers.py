"""What leaves the cache, and what is kept as small as it gets."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from modelyard.policy.tiers import evictions, tier


class File(NamedTuple):
    size: int
    used: float
    linked: bool


FILES = st.lists(st.builds(File, st.integers(0, 100), st.floats(0, 1000), st.booleans()), max_size=20)


@given(FILES, st.integers(0, 1000))
def test_what_stays_is_within_the_budget_or_linked(files: list[File], budget: int) -> None:
    going = evictions(files, budget)
    staying = list(files)
    for each in going:
        staying.remove(each)
    assert sum(each.size for each in staying) <= budget or all(each.linked for each in staying)
    assert not any(each.linked for each in going)


@given(FILES, st.integers(0, 1000))
def test_nothing_goes_that_was_used_after_something_that_stays(files: list[File], budget: int) -> None:
    going = evictions(files, budget)
    staying = list(files)
    for each in going:
        staying.remove(each)
    free = [each.used for each in staying if not each.linked]
    if going and free:
        assert max(each.used for each in going) <= min(free)


@given(FILES, st.integers(0, 1000))
def test_no_more_goes_than_has_to(files: list[File], budget: int) -> None:
    going = evictions(files, budget)
    if going:
        before_the_last = sum(each.size for each in files) - sum(each.size for each in going[:-1])
        assert before_the_last > budget


def test_what_was_not_used_for_long_is_cold_unless_it_is_small_or_nothing_ever_is() -> None:
    assert tier(used=0, now=100, size=1 << 20, cold_after=100) == "cold"
    assert tier(used=1, now=100, size=1 << 20, cold_after=100) == "warm"
    assert tier(used=0, now=100, size=(1 << 20) - 1, cold_after=100) == "warm"
    assert tier(used=0, now=10**9, size=1 << 30, cold_after=0) == "warm"
