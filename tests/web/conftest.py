"""A browser without a screen, on a control plane of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pages import TestClient, browser_of


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[TestClient]:
    with browser_of(tmp_path / "home") as opened:
        yield opened
