"""Progress where there is no terminal."""

import time

import pytest

from modelyard.cli.ticker import Ticker


def test_lines_that_differ_in_figures_are_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Ticker() as ticker:
        for number in range(1, 13):
            ticker.show(f"blob {number} of 12")
            now += 1.0
        ticker.show("looking for the models")
        ticker.show("looking for the models")
    told = capsys.readouterr().err.splitlines()
    assert told == ["blob 1 of 12 …", "blob 6 of 12 …", "blob 11 of 12 …", "looking for the models …"]


def test_a_quiet_one_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Ticker(quiet=True) as ticker:
        ticker.show("blob 1 of 2")
    assert capsys.readouterr().err == ""
