"""Medians, quantiles and the verdicts drawn from them."""

import pytest
from bench.load.measured import Measured
from bench.plan import Plan
from bench.results import at_least, at_most
from bench.runs import Runs
from bench.statistics import median, quantile
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@given(NUMBERS, st.floats(0, 1))
def test_a_quantile_is_one_of_the_values_and_enough_of_them_are_not_above_it(values, q) -> None:
    found = quantile(values, q)
    assert found in values
    assert sum(value <= found for value in values) >= q * len(values) - 1e-6


@given(NUMBERS)
def test_as_many_values_lie_below_the_median_as_above_it(values) -> None:
    found = median(values)
    assert sum(value < found for value in values) <= len(values) / 2
    assert sum(value > found for value in values) <= len(values) / 2


def test_there_is_no_quantile_of_nothing() -> None:
    with pytest.raises(ValueError):
        quantile([], 0.5)
    with pytest.raises(ValueError):
        median([])


def test_each_figure_of_a_cell_is_the_median_of_its_runs_and_errors_add_up() -> None:
    runs = Runs()
    for rate, p50 in ((10.0, 3.0), (30.0, 1.0), (20.0, 2.0)):
        runs.add("server", "json 1", Measured(rate, p50, p50 * 2, 1))
    cell = runs.medians()["server"]["json 1"]
    assert (cell["rate"], cell["p50"], cell["p99"], cell["errors"], cell["runs"]) == (20, 2, 4, 3, 3)
    assert cell["spread"] == 1.0


def test_a_goal_without_a_number_is_neither_met_nor_missed() -> None:
    assert at_least("", None, 1).met is None
    assert at_least("", 1.0, 1).met is True
    assert at_most("", 1.1, 1).met is False


def test_a_quick_plan_does_one_short_run_of_everything() -> None:
    plan = Plan(quick=True)
    assert (plan.repeats, plan.seconds(4), plan.count(1000, 10)) == (1, 1.0, 10)


def test_a_scaled_plan_never_falls_below_the_quick_one() -> None:
    plan = Plan(scale=0.01)
    assert (plan.repeats, plan.seconds(4), plan.count(1000, 50)) == (5, 1.0, 50)
