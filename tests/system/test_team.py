"""Two homes beside one PostgreSQL: nothing twice, nothing lost, and what one leaves the other goes on with."""

import hashlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.node import wait_until
from support.postgres import PASSWORD, PostgresServer
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def call(url: str, body: object = None, method: str | None = None) -> tuple[int, Any]:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read()
            return response.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def control(shell: Shell) -> str:
    return (shell.home / "run" / "control.url").read_text() + "/api/v1"


def endpoint(shell: Shell, name: str) -> dict[str, Any]:
    status, found = call(f"{control(shell)}/endpoints/{name}")
    assert status == 200, found
    return found


def function(folder: Path, answer: str, *, slow: float = 0.0) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(
        f"import time\ntime.sleep({slow})\ndef predict(x: float):\n    return {answer!r}\n"
    )
    return folder


def answers(url: str, answer: str) -> bool:
    try:
        return call(f"{url}/predict", {"x": 1.0}) == (200, {"output": answer})
    except OSError:
        return False


@pytest.fixture
def homes(postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[Shell, Shell]]:
    """Two homes with one database without tables, and their blobs in one place."""
    url = postgres.create()
    (tmp_path / "blobs").mkdir()
    shells = tuple(
        Shell(tmp_path / name, MODELYARD_DATABASE=url, MODELYARD_TAKEOVER_AFTER="3") for name in "ab"
    )
    for shell in shells:
        shell.home.mkdir()
        (shell.home / "blobs").symlink_to(tmp_path / "blobs")
    yield shells
    for shell in shells:
        shell.run("down")
        shell.kill_all()
    postgres.drop(url)


def test_two_homes_share_what_they_know_and_one_goes_on_with_what_the_other_left(
    homes: tuple[Shell, Shell], tmp_path: Path
) -> None:
    a, b = homes
    ups = [shell.start("up", "--json") for shell in homes]
    for up in ups:
        out, err = up.communicate(timeout=150)
        assert up.returncode == 0, out + err

    # What one makes the other sees, with the address of the node that serves it.
    a.json("deploy", str(function(tmp_path / "m", "one")), "--name", "m")
    assert [model["name"] for model in b.json("models")] == ["m"]
    here, there = endpoint(a, "m"), endpoint(b, "m")
    assert there["url"] == here["url"] and answers(there["url"], "one")
    assert (here["state"], there["state"]) == ("ready", "unknown")

    # An endpoint is served by one home; the same version serves at the other under another name.
    refused = b.run("deploy", str(function(tmp_path / "m", "two")), "--name", "m")
    assert refused.returncode == 1 and "another home" in refused.stderr
    status, job = call(f"{control(b)}/deployments", {"endpoint": "n", "model": "m", "version": 1})
    assert status == 202, job
    assert b.json("jobs", job["id"])["job"]["state"] == "done"
    assert answers(endpoint(b, "n")["url"], "one")
    assert call(f"{control(a)}/jobs/{job['id']}")[1]["state"] == "done"

    # An upload that was begun at one is filled at the other, and becomes a version at the first.
    source = b"def predict(x: float):\n    return 'both'\n"
    sha256 = hashlib.sha256(source).hexdigest()
    files = [{"path": "model.py", "size": len(source), "sha256": sha256}]
    _, begun = call(f"{control(a)}/uploads", {"files": files})
    sent = httpx.put(f"{control(b)}/uploads/{begun['id']}/blobs/{sha256}", content=source, timeout=60)
    assert sent.status_code == 204, sent.text
    status, version = call(f"{control(a)}/models/both/versions", {"upload": begun["id"]})
    assert (status, version["number"]) == (201, 1), version
    assert call(f"{control(b)}/models/both/versions/1")[1]["digest"] == version["digest"]

    # A home is killed in the middle of a job, but for its node: the other home takes the job over.
    late = function(tmp_path / "late", "late", slow=2.0)
    job = a.json("deploy", str(late), "--name", "late", "--detach")["job"]
    wait_until(lambda: call(f"{control(b)}/jobs/{job}")[1]["stage"] == "ready", what="the job under way")
    a.kill("supervisor", "control")
    assert b.json("jobs", job)["job"]["state"] == "done"
    taken = endpoint(b, "late")
    assert taken["state"] == "ready" and answers(taken["url"], "late")
    events = call(f"{control(b)}/deployments?endpoint=late")[1]
    assert [each["state"] for each in events if each["state"] not in ("retired", "failed")] == ["ready"]
    assert answers(here["url"], "one")  # predictions go on at its node

    # Who tidies up in one home leaves what the other uses.
    call(f"{control(b)}/endpoints/n", method="DELETE")
    status, told = call(f"{control(b)}/models/m", method="DELETE")
    assert status == 409, told
    found = json.loads(b.run("doctor", "--thorough", "--json").stdout)["findings"]
    assert [each["kind"] for each in found] == ["unfit_database"], (
        found
    )  # the tests' server keeps nothing in a crash

    # The home comes back: it serves what is its own, and not what was taken over.
    a.json("up")
    found = b.json("status")
    assert [home["gone"] for home in found["homes"]] == [False, False]
    assert PASSWORD not in json.dumps(found)
    told = b.run("up", "--database", "postgresql://u:another-secret@127.0.0.1/x")
    assert told.returncode == 1 and "runs already" in told.stderr
    assert PASSWORD not in told.stderr and "another-secret" not in told.stderr
    assert answers(endpoint(a, "m")["url"], "one")
    url = here["url"].removesuffix("m")
    wait_until(lambda: call(f"{url}late/predict", {"x": 1.0})[0] == 404, what="the end of it at the former")
    assert answers(endpoint(a, "late")["url"], "late")
    for shell in homes:
        logs = "".join(path.read_text() for path in (shell.home / "logs").iterdir())
        assert PASSWORD not in logs
        pid = shell.pid("node")
        assert b"MODELYARD_DATABASE" not in Path(f"/proc/{pid}/environ").read_bytes()
    listed = subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout
    assert PASSWORD not in listed


def test_a_home_moves_to_a_team_and_back_and_serves_on(
    shell: Shell, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.create()
    shell.json("deploy", str(function(tmp_path / "m", "one")), "--name", "m")
    running = shell.run("migrate", "--to", url)
    assert running.returncode == 1 and "modelyard down" in running.stderr
    shell.json("down")

    moved = shell.json("migrate", "--to", url)
    assert moved["rows"]["versions"] == 1 and PASSWORD not in json.dumps(moved)
    shell.json("up")
    wait_until(lambda: answers(endpoint(shell, "m")["url"], "one"), what="the same endpoint")
    status = shell.run("status").stdout
    assert "database" in status and "***" in status and PASSWORD not in status
    shell.json("deploy", str(function(tmp_path / "m", "two")), "--name", "m")
    made = shell.json("backup", str(tmp_path / "backup.tar"))  # while it runs
    assert made["tables"]["versions"]["rows"] == made["blobs"] == 2
    shell.json("down")

    back = shell.run("migrate", "--to", "embedded")
    assert back.returncode == 0 and "each table was compared" in back.stdout, back.stderr
    shell.json("up")
    wait_until(lambda: answers(endpoint(shell, "m")["url"], "two"), what="the endpoint as it was there")
    assert shell.json("doctor", "--thorough")["findings"] == []
    shell.json("down")

    new = Shell(tmp_path / "new")
    try:
        restored = new.run("restore", str(tmp_path / "backup.tar"))
        assert restored.returncode == 0 and "2 blobs" in restored.stdout, restored.stderr
        told = new.run("doctor", "--thorough")  # its environment is to be built again, and that is said
        assert told.returncode == 1
        assert "missing environment: m" in told.stdout and "builds it again" in told.stdout
        new.json("up")
        assert [each["name"] for each in new.json("models")] == ["m"]
        # Nothing is deployed again: what served when it was backed up serves, in an environment of the same versions.
        wait_until(lambda: answers(endpoint(new, "m")["url"], "two"), what="the endpoint in the new home")
        assert endpoint(new, "m")["state"] == "ready"
        assert new.json("doctor", "--thorough")["findings"] == []
    finally:
        new.run("down")
        new.kill_all()
    postgres.drop(url)
