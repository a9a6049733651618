"""The page says what was kept, and says so where nothing was."""

import json

import pytest
from bench.__main__ import QUESTIONS
from bench.results import Table, Verdict, at_least, verdict_table

from bench import report, results

RESULT = {
    "machine": {"processor": "P", "cores": 2, "memory": 2**30, "kernel": "6", "python": "3.11", "load": 0.1, "date": "D"},
    "plan": {"quick": False, "rounds": 5, "scale": 1.0},
    "seconds": 12.0,
    "milliseconds": {"modelyard --help": 120.0, "python -c pass": 11.0},
}  # fmt: skip
PAGE = "before\n<!-- bench:command_line -->\nold\n<!-- /bench -->\nafter\n"


def test_a_question_without_a_result_is_said_not_to_have_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    found = report.filled(PAGE, QUESTIONS)
    assert "*Not run*" in found
    assert "old" not in found
    assert found.startswith("before\n") and found.endswith("after\n")


def test_a_result_is_written_with_its_machine_date_and_verdict(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    (tmp_path / "command_line.json").write_text(json.dumps(RESULT))
    found = report.filled(PAGE, QUESTIONS)
    assert "P, 2 cores" in found
    assert "D UTC" in found
    assert "| `modelyard --help` ≤ 150 ms | 120 ms | met |" in found
    assert report.filled(found, QUESTIONS) == found


def test_a_block_of_no_question_is_refused() -> None:
    with pytest.raises(ValueError, match="no question"):
        report.filled("<!-- bench:nonsense -->\n<!-- /bench -->", QUESTIONS)


def test_every_question_has_its_block_on_the_page() -> None:
    page = report.PAGE.read_text()
    assert [name for name in QUESTIONS if f"<!-- bench:{name} -->" not in page] == []


def test_a_quick_run_is_not_kept_where_the_page_reads(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    results.save("command_line", {**RESULT, "plan": {"quick": True, "rounds": 1, "scale": 1.0}})
    assert results.load("command_line") is None


def test_a_missed_goal_is_written_as_missed() -> None:
    text = verdict_table([at_least("goal", 1.0, 2.0), Verdict("other", "–", None)]).markdown()
    assert "| goal | 1.00 | not met |" in text
    assert "| other | – | not measured |" in text


def test_the_columns_of_a_table_line_up() -> None:
    lines = Table("title", ("", "a"), [("row", "1,000"), ("longer row", "2")]).text().splitlines()
    assert len({len(line) for line in lines[2:]}) == 1
