"""``modelyard add`` with a package of the index, which has a model inside and is in no catalog."""

import json
import subprocess
from pathlib import Path

import pytest

from modelyard.package.environment import Environments
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ADDRESSES = ["123 Main St. Suite 100 Chicago, IL", "Apt 5, 77 Massachusetts Avenue, Cambridge MA 02139"]
LIBRARY = "import json, sys, usaddress; print(json.dumps([usaddress.parse(each) for each in json.load(sys.stdin)]))"


def test_a_package_becomes_an_endpoint_that_answers_as_its_library_does(
    shell: Shell, tmp_path: Path
) -> None:
    told = shell.json("add", "usaddress", "--to", str(tmp_path / "model"), "--test", "--deploy")
    assert not told["report"]["questions"]
    assert told["trial"]["repeatable"]
    python = Environments(shell.home / "environments").get(told["trial"]["environment"]).python
    done = subprocess.run(
        [python, "-c", LIBRARY], input=json.dumps(ADDRESSES), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answers = [shell.json("predict", "usaddress", "--set", f"addr={each}")["output"] for each in ADDRESSES]
    assert answers == json.loads(done.stdout)
