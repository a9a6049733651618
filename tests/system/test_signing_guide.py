"""The guide's part about signatures, as somebody does it who reads it: every command, before and under the policy."""

from pathlib import Path

import pytest

from support.guide import GUIDES, commands, section
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
TITLE = "Signed by whom"


def test_every_command_of_the_guide_does_what_it_says(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    *before, after = section("safety.md", TITLE)
    assert len(before) == 2
    for block in before:
        for command in commands(block):
            command.run(shell, tmp_path)
    text = (GUIDES / "safety.md").read_text().partition(f"\n## {TITLE}\n")[2]
    policy = text.partition("```toml\n")[2].partition("```")[0]
    key = "/etc/modelyard/public.pem"
    assert key in policy
    (shell.home / "modelyard.toml").write_text(policy.replace(key, str(tmp_path / "public.pem")))
    shell.json("down")
    shell.json("up")
    for command in commands(after):
        command.run(shell, tmp_path)
