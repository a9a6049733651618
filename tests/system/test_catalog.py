"""A model of the catalog from its name to its answer: real weights out of their package."""

import math

import pytest

from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_a_known_model_is_one_command_away(shell: Shell) -> None:
    deployed = shell.json("catalog", "deploy", "minilm")
    assert (deployed["endpoint"], deployed["version"], deployed["state"]) == ("minilm", 1, "ready")
    embedding = shell.json("predict", "minilm", "--text", "The committee approved the new budget.")[
        "embedding"
    ]
    assert len(embedding) == 384
    assert math.sqrt(sum(value * value for value in embedding)) == pytest.approx(1.0, abs=1e-3)
    again = shell.json("catalog", "deploy", "minilm", "--name", "other")
    assert (again["endpoint"], again["model"], again["version"]) == ("other", "other", 1)
    folder = shell.json("catalog", "fetch", "minilm")["folder"]
    assert folder == str(shell.home / "catalog" / "minilm")
    wrong = shell.run("catalog", "deploy", "uni-mol")
    assert wrong.returncode == 1 and "its entry has no recipe" in wrong.stderr
