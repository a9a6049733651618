"""The script of the zoo: which ``modelyard`` it takes, and what it says where there is none."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "a checkout"
    shutil.copytree(EXAMPLES / "zoo", place / "examples" / "zoo")
    shutil.copy2(EXAMPLES / "zoo.sh", place / "examples" / "zoo.sh")
    return place


def program(place: Path, status: int) -> Path:
    """A program that ends at once with ``status``: the script ends with it, too."""
    place.parent.mkdir(parents=True)
    place.write_text(f"#!/bin/sh\nexit {status}\n")
    place.chmod(0o755)
    return place


def run(checkout: Path, *path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    places = ":".join([*map(str, path), "/usr/bin", "/bin"])
    kept = {name: value for name, value in os.environ.items() if name != "MODELYARD"}
    return subprocess.run(
        ["sh", "examples/zoo.sh"],
        cwd=checkout,
        env=kept | {"PATH": places} | environment,
        capture_output=True,
        text=True,
    )


def test_it_takes_the_one_that_was_made_beside_it(checkout: Path, tmp_path: Path) -> None:
    program(checkout / ".venv" / "bin" / "modelyard", 7)
    assert run(checkout, program(tmp_path / "bin" / "modelyard", 8).parent).returncode == 7


def test_one_that_is_named_goes_first_and_the_path_last(checkout: Path, tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin" / "modelyard", 8)
    assert run(checkout, on_path.parent).returncode == 8
    program(checkout / ".venv" / "bin" / "modelyard", 7)
    named = program(tmp_path / "named" / "modelyard", 9)
    assert run(checkout, on_path.parent, MODELYARD=str(named)).returncode == 9


def test_without_any_it_says_both_ways_to_have_one(checkout: Path) -> None:
    ended = run(checkout)
    assert ended.returncode == 1
    assert "make demo" in ended.stderr and "MODELYARD=" in ended.stderr
