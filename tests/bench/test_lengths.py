"""Lengths follow the law that is said, and packings lose nothing and keep their budget."""

import math

import pytest
from bench.lengths import lognormal, offline_limit, packed, padded, useful_share
from hypothesis import given
from hypothesis import strategies as st

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=200)


def test_a_lognormal_law_has_the_median_and_the_95th_percentile_that_were_asked_for() -> None:
    lengths = sorted(lognormal(20_000, median=299, p95=1_030, seed=1, most=10**6))
    assert lengths[10_000] == pytest.approx(299, rel=0.03)
    assert lengths[19_000] == pytest.approx(1_030, rel=0.05)


def test_no_length_is_outside_its_bounds() -> None:
    lengths = lognormal(5_000, median=60, p95=250, seed=0, most=200, least=10)
    assert (min(lengths), max(lengths)) == (10, 200)


@given(LENGTHS, st.integers(1, 4_000), st.integers(1, 50))
def test_a_packing_loses_nothing_and_only_a_single_item_exceeds_the_budget(lengths, budget, rows) -> None:
    batches = list(packed(lengths, budget, rows))
    assert [length for batch in batches for length in batch] == lengths
    assert all(len(batch) == 1 or (padded(batch) <= budget and len(batch) <= rows) for batch in batches)


def test_a_batch_of_equal_lengths_has_no_padding() -> None:
    assert useful_share([[5, 5, 5], [7]]) == 1.0
    assert useful_share([[1, 3]]) == pytest.approx(4 / 6)


def test_the_offline_limit_takes_one_batch_where_only_the_fixed_cost_counts() -> None:
    seconds, budget = offline_limit([3, 1, 2], lambda batch: 1.0, rows=10)
    assert seconds == 1.0
    assert budget >= 9


def test_the_offline_limit_takes_single_items_where_padding_is_all_that_costs() -> None:
    lengths = [7, 1, 2, 9]
    seconds, _ = offline_limit(lengths, lambda batch: float(padded(batch)), rows=10)
    assert seconds == pytest.approx(19, abs=1)
    assert math.isfinite(seconds)
