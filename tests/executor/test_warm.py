"""What adapters do once for all forks of an environment; what becomes of it when that fails."""

import sys
import types

import pytest

from modelyard_executor import forkserver

OURS = "modelyard_executor.adapters.made_for_this_test"


def adapter(monkeypatch: pytest.MonkeyPatch, name: str, warm: object) -> None:
    module = types.ModuleType(name)
    module.warm = warm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)


def test_one_that_fails_is_told_and_the_others_are_made_warm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def fails() -> None:
        raise RuntimeError("no such operator")

    adapter(monkeypatch, OURS, fails)
    adapter(monkeypatch, f"{OURS}_too", lambda: done.append("warm"))
    forkserver._warm([OURS, f"{OURS}_too", f"{OURS}_that_is_not_there"])
    assert done == ["warm"]
    assert f"{OURS} cannot be made warm: no such operator" in capsys.readouterr().err


def test_what_is_not_ours_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter(monkeypatch, "somebodys_package", lambda: pytest.fail("their warm() is something else"))
    forkserver._warm(["somebodys_package"])
