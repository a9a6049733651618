"""The guide from a notebook to production, as somebody does it who reads it: every command, in its order."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.guide import blocks, commands
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_every_command_of_the_guide_does_what_it_says(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    steps = blocks("notebook.md")
    kinds = [kind for kind, _ in steps]
    assert kinds.count("python") == 1 and kinds.count("console") >= 7
    for kind, block in steps:
        if kind == "python":
            ran = subprocess.run(
                [sys.executable, "-c", block],
                env=shell.environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert ran.returncode == 0, ran.stderr
            assert "<Pushed tumour/1, " in ran.stdout and "<Pushed tumour/2, " in ran.stdout
            continue
        for command in commands(block):
            command.run(shell, tmp_path)
    assert (tmp_path / "tumour" / "model.skops").is_file()
