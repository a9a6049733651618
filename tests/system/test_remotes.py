"""Remotes from the command line to the answer: an endpoint of another node, alone and beside a deployment."""

import json
import urllib.request
from pathlib import Path

import pytest

from support.models import function_pool
from support.node import NodeProcess, wait_until
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def where(url: str, name: str) -> str | None:
    """Who answers a call now; None while nobody does."""
    call = urllib.request.Request(
        f"{url}/models/{name}/predict", b'{"x": 1}', {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(call, timeout=100) as response:
            return json.load(response)["output"]
    except OSError:
        return None


def test_an_endpoint_of_another_node_is_served_here_alone_and_beside_a_deployment(
    shell: Shell, tmp_path: Path
) -> None:
    pool = function_pool(tmp_path / "far", "def predict(x: float):\n    return 'far'\n", name="far")
    with NodeProcess(tmp_path / "other").serve(pool) as other:
        here = shell.json("up")["node"]
        away = f"http://127.0.0.1:{other.port}"

        added = shell.json("remotes", "add", "who", away, "--model", "far")
        assert [each["url"] for each in added["remotes"]] == [away]
        wait_until(lambda: where(here, "who") == "far", what="the answer of the other node")
        assert shell.json("predict", "who", "--set", "x=1") == {"output": "far"}
        for shown in (("endpoints",), ("remotes", "list"), ("endpoints", "who")):
            row = next(line for line in shell.run(*shown).stdout.splitlines() if away in line)
            assert row.split()[:5] == ["who", away, "far", "v2", "ready"]
        told = shell.json("remotes", "list", "who")
        assert [(each["state"], each["errors"]) for each in told["status"]] == [("ready", 0)]
        assert told["status"][0]["calls"] >= 2 and told["traffic"]["calls"] >= 2

        (tmp_path / "near").mkdir()
        (tmp_path / "near" / "model.py").write_text("def predict(x: float):\n    return 'near'\n")
        shell.json("deploy", str(tmp_path / "near"), "--name", "who")
        seen: set[str | None] = set()
        wait_until(lambda: seen.add(where(here, "who")) or {"near", "far"} <= seen, what="answers of both")

        shell.json("remotes", "set", "who", "--local-weight", "0", "--attempts", "2")
        wait_until(lambda: {where(here, "who") for _ in range(20)} == {"far"}, what="the other alone")
        shell.json("remotes", "remove", "who", away)
        wait_until(lambda: {where(here, "who") for _ in range(20)} == {"near"}, what="this one alone")
        wrong = shell.run("remotes", "remove", "who", away, "--json")
        assert wrong.returncode == 1 and json.loads(wrong.stdout)["code"] == "not_found"
        wrong = shell.run("remotes", "add", "who", "ftp://elsewhere")
        assert wrong.returncode == 1 and "http://host:port" in wrong.stderr

        shell.json("remotes", "add", "elsewhere", away + "/", "--model", "far")
        wait_until(lambda: where(here, "elsewhere") == "far", what="the other node by another name")
        # It stands in for the deployment, and is not taken away while it does.
        shell.json("deploy", str(tmp_path / "near"), "--name", "careful", "--fallback", "elsewhere")
        wrong = shell.run("remotes", "remove", "elsewhere", away)
        assert wrong.returncode == 1 and "the fallback of careful" in wrong.stderr
        shell.json("deploy", str(tmp_path / "near"), "--name", "careful", "--reset")
        assert shell.json("delete", "elsewhere", "--yes") == {"deleted": "elsewhere"}
        wait_until(lambda: where(here, "elsewhere") is None, what="nobody")
        assert shell.json("remotes", "list") == []
