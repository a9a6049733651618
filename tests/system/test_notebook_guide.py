"""The guide from a notebook to production, as somebody does it who reads it: every command, in its order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support.shell import PROGRAM, Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "notebook.md"


def steps() -> list[tuple[str, str]]:
    """The blocks that are run: of what language, and what stands in them."""
    return re.findall(r"^```(python|console)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a block, with the lines that it has to print."""
    made: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ modelyard "):
            made.append((line.removeprefix("$ modelyard "), []))
        else:
            made[-1][1].append(line)
    return made


def says(output: str, line: str) -> bool:
    """Whether a line of ``output`` has all of ``line``, in its order; ``…`` is anything, several spaces are one."""
    parts = [re.escape(" ".join(part.split())) for part in line.split("…")]
    pattern = re.compile(".*".join(parts))
    return any(pattern.search(" ".join(told.split())) for told in output.splitlines())


def test_every_command_of_the_guide_does_what_it_says(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    kinds = [kind for kind, _ in steps()]
    assert kinds.count("python") == 1 and kinds.count("console") >= 7
    for kind, block in steps():
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
        for command, expected in commands(block):
            ran = subprocess.run(
                [*PROGRAM, *shlex.split(command)],
                env=shell.environment, cwd=tmp_path, capture_output=True, text=True,
            )  # fmt: skip
            assert ran.returncode == 0, (command, ran.stderr)
            for line in expected:
                assert says(ran.stdout, line), (command, line, ran.stdout)
    assert (tmp_path / "tumour" / "model.skops").is_file()
