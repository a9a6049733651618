"""Two projects on one platform, as people work in them: by the command line, at the node, and after a kill."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard.client import AsyncClient, Client
from modelyard.core.errors import Conflict, NotFound
from support.node import wait_until
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def function(folder: Path, answer: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(f"def predict(x: float):\n    return {answer!r}\n")
    return folder


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "home", MODELYARD_AUTHENTICATION="true")
    yield shell
    shell.run("down")


def predict(shell: Shell, name: str, key: str) -> int:
    url = (shell.home / "run" / "node.url").read_text().strip()
    headers = {"authorization": f"Bearer {key}"}
    try:
        return httpx.post(
            f"{url}/models/{name}/predict", json={"x": 1.0}, headers=headers, timeout=60
        ).status_code
    except httpx.TransportError:
        return 0


def test_two_teams_on_one_platform(yard: Shell, tmp_path: Path) -> None:
    yard.json("up")
    yard.json("projects", "create", "blue")
    yard.json("projects", "create", "red")
    made = {
        name: yard.json("keys", "create", name, "--project", project, "--role", "operator")
        for name, project in (("ada", "blue"), ("bob", "red"))
    }
    secrets = {name: each["secret"] for name, each in made.items()}

    def as_(name: str) -> Shell:
        other = Shell(yard.home)
        other.environment = yard.environment | {"MODELYARD_API_KEY": secrets[name]}
        return other

    ada, bob = as_("ada"), as_("bob")
    assert ada.json("whoami")["project"] == "blue"
    ada.json("deploy", str(function(tmp_path / "a", "blue")), "--name", "tint")
    taken = bob.run("deploy", str(function(tmp_path / "b", "red")), "--name", "tint")
    assert taken.returncode == 1 and "is taken" in taken.stderr
    bob.json("deploy", str(tmp_path / "b"), "--name", "shade")
    assert [each["endpoint"]["name"] for each in bob.json("endpoints")] == ["shade"]

    wait_until(lambda: predict(yard, "shade", secrets["bob"]) == 200, what="bob's endpoint")
    assert predict(yard, "tint", secrets["ada"]) == 200
    assert predict(yard, "shade", secrets["ada"]) == predict(yard, "tint", secrets["bob"]) == 404
    assert predict(yard, "tint", (yard.home / "key").read_text().strip()) == 200
    # The same bytes: what the other has already is sent all the same, and is a version of its own.
    bob.json("deploy", str(tmp_path / "a"), "--name", "copy")
    wait_until(lambda: predict(yard, "copy", secrets["bob"]) == 200, what="the copy")

    narrow = yard.json(
        "keys", "create", "app", "--project", "blue", "--endpoint", "tint", "--expires", "30d"
    )
    wait_until(lambda: predict(yard, "tint", narrow["secret"]) == 200, what="a key that predicts")
    revoked = time.monotonic()
    yard.json("keys", "revoke", "app")
    wait_until(lambda: predict(yard, "tint", narrow["secret"]) == 401, timeout=30, what="its end")
    print(f"revoked within {time.monotonic() - revoked:.1f} s, the command's own time among it")

    again = yard.json("keys", "rotate", "ada")
    wait_until(
        lambda: predict(yard, "tint", secrets["ada"]) == 401, timeout=30, what="the former secret's end"
    )
    wait_until(lambda: predict(yard, "tint", again["secret"]) == 200, timeout=30, what="the new secret")

    yard.json("projects", "move", "tint", "red")
    wait_until(lambda: predict(yard, "tint", secrets["bob"]) == 200, timeout=30, what="the move")
    assert predict(yard, "tint", again["secret"]) == 404
    assert "is for an admin" in bob.run("audit").stderr
    told = yard.run("audit", "tint", "--limit", "1")
    assert told.returncode == 0, told.stderr
    (moved,) = told.stdout.splitlines()[1:]
    assert "model.move" in moved
    refused = yard.run("projects", "delete", "red")
    assert refused.returncode == 1 and "3 models" in refused.stderr

    # Everything else dead, the node still knows who may what.
    yard.kill("supervisor", "control", "node")
    yard.json("up")
    wait_until(lambda: predict(yard, "tint", secrets["bob"]) == 200, what="the node again")
    assert predict(yard, "tint", narrow["secret"]) == 401


async def told_of(url: str, key: str) -> Any:
    async with AsyncClient(url, key) as client:
        return await client.access.me(), await client.access.projects(), await client.access.audit("blue")


def test_the_clients_make_and_end_projects_and_keys(yard: Shell) -> None:
    url = yard.json("up")["control"]
    home_key = (yard.home / "key").read_text().strip()
    with Client(url, home_key) as client:
        client.access.create_project("blue", because="a team")
        made = client.access.create_key("ada", project="blue", role="admin", expires_in=3600)
        assert client.access.key("ada") == made.key
        with pytest.raises(Conflict, match="has 1 key"):
            client.access.delete_project("blue")
    me, projects, audit = asyncio.run(told_of(url, made.secret))
    assert (me.name, me.role, me.project) == ("ada", "admin", "blue")
    assert [each.name for each in projects] == ["blue"]
    assert [(each.what, each.why) for each in audit] == [("project.create", "a team")]
    with Client(url, made.secret, project="default") as client, pytest.raises(NotFound):
        client.access.keys()
    with Client(url, home_key) as client:
        client.access.revoke_key("ada", because="left")
        client.access.delete_project("blue")
        assert [each.name for each in client.access.projects()] == ["default"]
        assert client.access.keys() == []
        told = [(each.what, each.why) for each in client.access.audit("blue", limit=2)]
        assert told == [("project.delete", ""), ("project.create", "a team")]
