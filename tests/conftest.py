"""What tests of several rooms start: a platform driven by its command line, ended whatever happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.shell import Shell

# A busy machine is no finding: neither how long an example takes nor how long it takes to be made.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path / "home")
    yield made
    if made.home.exists():
        try:
            made.run("down")
        finally:
            made.kill_all()
