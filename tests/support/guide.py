"""Guides as somebody follows them who reads them: the commands of their blocks, and the lines that each has to print.

In a block of ``console`` a line that begins with ``$`` is a command, the lines behind it are of what it prints; ``…`` in
them is anything. A line that begins with ``error:`` says that the command fails with it.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from support.shell import PROGRAM, Shell

GUIDES = Path(__file__).parents[2] / "docs" / "guides"


class Command(NamedTuple):
    """A command, and lines that it prints."""

    text: str
    expected: list[str]

    def run(self, shell: Shell, folder: Path) -> None:
        """Run it in ``folder``, and look at what it said."""
        words = shlex.split(self.text)
        ours = words[0] == "modelyard"
        ran = subprocess.run(
            [*PROGRAM, *words[1:]] if ours else ["bash", "-c", self.text],
            env=shell.environment | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}, cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        fails = any(line.startswith("error:") for line in self.expected)
        assert (ran.returncode == 1) if fails else (ran.returncode == 0), (
            self.text,
            ran.stdout,
            ran.stderr,
        )
        said = ran.stdout + ran.stderr if fails else ran.stdout
        for line in self.expected:
            assert says(said, line), (self.text, line, said)


def blocks(guide: str) -> list[tuple[str, str]]:
    """The blocks of a guide that are run: of what language, and what stands in them."""
    text = (GUIDES / guide).read_text()
    return re.findall(r"^```(python|console)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(guide: str, title: str) -> list[str]:
    """The blocks of ``console`` below a heading of a guide."""
    text = (GUIDES / guide).read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(block: str) -> Sequence[Command]:
    """The commands of a block, in their order."""
    made: list[Command] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            made.append(Command(line.removeprefix("$ "), []))
        else:
            made[-1].expected.append(line)
    return made


def says(output: str, line: str) -> bool:
    """Whether a line of ``output`` has all of ``line``, in its order; ``…`` is anything, several spaces are one."""
    parts = [re.escape(" ".join(part.split())) for part in line.split("…")]
    pattern = re.compile(".*".join(parts))
    return any(pattern.search(" ".join(told.split())) for told in output.splitlines())
