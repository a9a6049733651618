"""A batch is cut where padding would cost more than another run, and nowhere else."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_executor.adapters.padding import Padding


def cost(runs: list[list[int]], lengths: list[int], fixed: float) -> float:
    return sum(fixed + len(run) * max(lengths[place] for place in run) for run in runs)


def test_alike_lengths_are_one_run_in_the_order_given() -> None:
    assert Padding(30, 1000).runs([10, 12, 11]) == [[0, 1, 2]]


def test_nothing_is_no_run() -> None:
    assert Padding(30, 1000).runs([]) == []


def test_a_long_row_is_computed_apart_from_short_ones() -> None:
    assert Padding(30, 1000).runs([200, 10, 12]) == [[1, 2], [0]]


def test_where_a_run_is_dear_nothing_is_cut() -> None:
    assert Padding(8000, 100_000).runs([200, 10, 12]) == [[0, 1, 2]]


def test_no_run_is_larger_than_memory_allows_but_for_one_row() -> None:
    runs = Padding(1e6, 100).runs([10] * 25 + [300, 40])
    assert sorted(map(len, runs)) == [1, 1, 5, 10, 10]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=9), st.floats(1, 200), st.integers(20, 400))
def test_every_row_is_in_one_run_and_no_cuts_are_better(
    lengths: list[int], fixed: float, most: int
) -> None:
    runs = Padding(fixed, most).runs(lengths)
    assert sorted(place for run in runs for place in run) == list(range(len(lengths)))
    for run in runs:
        assert len(run) == 1 or len(run) * max(lengths[place] for place in run) <= most
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    least = float("inf")
    for count in range(len(lengths)):
        for cuts in combinations(range(1, len(lengths)), count):
            edges = [0, *cuts, len(lengths)]
            parts = [order[edges[i] : edges[i + 1]] for i in range(len(edges) - 1)]
            if all(len(part) == 1 or len(part) * lengths[part[-1]] <= most for part in parts):
                least = min(least, cost(parts, lengths, fixed))
    longest = max(lengths)
    if longest * len(lengths) <= most:
        assert cost(runs, lengths, fixed) <= least + 1e-6
    # With a limit in the way, rows of one length are cut at the limit only: never worse than one run more.
    else:
        assert cost(runs, lengths, fixed) <= least + fixed * len(set(lengths)) + 1e-6


@pytest.mark.parametrize("limit", [1, 2, 256])
def test_a_model_of_any_limit_can_be_measured(limit: int) -> None:
    asked: list[tuple[int, int]] = []
    padding = Padding.measured(lambda rows, length: asked.append((rows, length)), limit=limit)
    assert padding.fixed >= 1
    assert all(length >= 1 for _, length in asked)
