"""What tests of several rooms start: a platform driven by its command line, ended whatever happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path / "home")
    yield made
    if made.home.exists():
        try:
            made.run("down", timeout=60)
        finally:
            made.kill_all()
