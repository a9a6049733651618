"""What is given up first, and that two fallbacks that name each other end."""

import pytest

from modelyard.policy.ladder import refusal, rescues


@pytest.mark.parametrize("code", ["overloaded", "unavailable"])
def test_a_kept_answer_is_tried_before_another_endpoint(code: str) -> None:
    assert list(rescues(code, kept=True, fallback=True, fell=False)) == ["stale", "fallback"]
    assert list(rescues(code, kept=False, fallback=True, fell=False)) == ["fallback"]


def test_a_fallback_has_no_fallback() -> None:
    assert list(rescues("unavailable", kept=True, fallback=True, fell=True)) == ["stale"]


@pytest.mark.parametrize("code", ["invalid_input", "internal", "deadline", "cancelled"])
def test_what_another_answer_does_not_mend_is_told(code: str) -> None:
    assert list(rescues(code, kept=True, fallback=True, fell=False)) == []


def test_work_below_the_default_level_is_shed_all_other_refused() -> None:
    assert [refusal(priority) for priority in (0, 1, 5, 6, 9)] == ["refused"] * 3 + ["shed"] * 2
