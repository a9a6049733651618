"""A folder for a while is gone whenever Ctrl-C comes."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from modelyard.host.temporary import temporary


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_ours_alone_and_gone_afterwards(parent: Path) -> None:
    with temporary("a-") as first, temporary("a-") as second:
        assert first != second and first.parent == second.parent == parent
        assert first.name.startswith("a-")
        assert first.stat().st_mode & 0o777 == 0o700
        (first / "file").write_text("x")
    assert list(parent.iterdir()) == []


def test_an_interruption_while_it_is_made_leaves_nothing(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir

    def interrupted(*arguments: object, **options: object) -> None:
        make(*arguments, **options)  # pyright: ignore
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(os, "mkdir", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt), temporary("a-"):
            raise AssertionError("it was never there")
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(parent.iterdir()) == []


def test_what_cannot_be_made_is_raised(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(parent / "missing"))
    with pytest.raises(FileNotFoundError), temporary("a-"):
        pass
