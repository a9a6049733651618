"""What the registry's commands make of their words, without a platform."""

import time
from pathlib import Path

import pytest
import typer

from modelyard.cli.aliases import span_of
from modelyard.cli.lineage import tree_lines
from modelyard.core.history import LineageNode
from support.shell import Shell


def test_a_day_is_all_of_it_in_the_readers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        begin, end = span_of("2026-11-01")
        assert time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(begin)) == "2026-10-31 23:00:00"
        assert end - begin == pytest.approx(86400, abs=0.01)
        begin, end = span_of("2026-10-25")  # the day on which clocks are put back
        assert end - begin == pytest.approx(90000, abs=0.01)
        moment, same = span_of("2026-11-01T12:30")
        assert moment == same
        assert time.strftime("%H:%M", time.gmtime(moment)) == "11:30"
        moment, same = span_of("2026-11-01 12:30:05")  # its end: what began at that second holds then
        assert moment == same
        assert time.strftime("%H:%M:%S", time.gmtime(moment)) == "11:30:05" and 0.99 < moment % 1 < 1
        assert span_of("1000.5") == (1000.5, 1000.5)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("at", ["yesterday", "2026-13-01", "", "01.11.2026"])
def test_what_is_no_time_is_wrong_use(at: str) -> None:
    with pytest.raises(typer.BadParameter):
        span_of(at)


def test_a_tree_has_its_branches() -> None:
    nodes = [
        LineageNode(model="base", number=1),
        LineageNode(model="a", number=1, parent=0, relation="variant", tradeoff={"ms": [9, 3]}),
        LineageNode(model="b", number=2, parent=0, relation="fine_tune", deprecated=True),
        LineageNode(model="c", number=1, parent=1, relation="re_export", aliases=("x", "y")),
    ]
    assert tree_lines(nodes, ("c", 1)) == [
        "base/1",
        "├─ a/1  variant  ms 9 → 3",
        "│  └─ c/1  re_export  @x, @y  ←",
        "└─ b/2  fine_tune  (deprecated)",
    ]


@pytest.mark.parametrize("name", ["fraud", "fraud/1"])
@pytest.mark.parametrize("told", ["[1, 2]", "3", '"auc"', "null", '[{"auc": 0.93}]', '[["auc", 0.93]]'])
def test_what_is_no_figures_is_told_with_what_is(
    shell: Shell, tmp_path: Path, name: str, told: str
) -> None:
    file = tmp_path / "metrics.json"
    file.write_text(told)
    done = shell.run("models", "card", name, "--metrics", str(file))
    assert done.returncode == 2
    assert (
        'neither an object of figures, {"accuracy": 0.93}, nor a list of tables, [{"title"' in done.stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "alias", "fraud", "production"],
        ["models", "alias", "fraud", "--remove"],
        ["models", "alias", "fraud", "production", "3", "--remove"],
        ["models", "deprecate", "fraud/1"],
        ["models", "parent", "fraud/1"],
        ["models", "list", "--status", "broken"],
        ["models", "card", "fraud", "--file", "/no/such/file"],
    ],
)
def test_what_is_half_said_is_wrong_use(shell: Shell, arguments: list[str]) -> None:
    assert shell.run(*arguments).returncode == 2


@pytest.mark.parametrize("alias", ["A B", "latest", "3"])
def test_an_alias_that_cannot_be_is_refused_before_anything_is_pushed(
    shell: Shell, tmp_path: Path, alias: str
) -> None:
    (tmp_path / "model.onnx").touch()
    refused = shell.run("models", "push", str(tmp_path / "model.onnx"), "--alias", alias)
    assert (
        refused.returncode == 1 and f"'{alias}' cannot be" in refused.stderr and "--alias" in refused.stderr
    )
    assert "pattern" not in refused.stderr and not (shell.home / "control.json").exists()
