"""Each decoder's small budget, the same inputs in every run; the long run is ``python -m tests.fuzz``."""

import pytest

from fuzz.engine import run
from fuzz.harnesses import NAMES, harness

BUDGET = 1500  # inputs of each


@pytest.mark.parametrize("name", NAMES)
def test_no_bytes_make_a_decoder_do_what_it_must_not(name: str) -> None:
    report = run(harness(name), BUDGET, seed=0, most_failures=1)
    assert not report.failures, report.failures[0]
