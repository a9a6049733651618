"""The ways to batch that the goal is stated against give the shares that were stated for them."""

import pytest
from bench.lengths import lognormal, padded, useful_share
from bench.useful_share import BUDGET, COUNT, MEDIAN, MOST, P95, STATED, WAYS


@pytest.fixture(scope="module")
def lengths() -> list[int]:
    return lognormal(COUNT, median=MEDIAN, p95=P95, seed=0, most=MOST)


@pytest.mark.parametrize("name", list(STATED))
def test_a_stated_way_has_its_stated_share_and_loses_nothing(name: str, lengths: list[int]) -> None:
    batches = WAYS[name](lengths)
    assert sorted(length for batch in batches for length in batch) == sorted(lengths)
    assert round(useful_share(batches), 2) == pytest.approx(STATED[name], abs=0.011)


@pytest.mark.parametrize("name", ["padded fifo", "nearest lengths"])
def test_the_ways_with_a_budget_keep_it(name: str, lengths: list[int]) -> None:
    assert max(map(padded, WAYS[name](lengths))) <= BUDGET
