"""From one home to a team and back: PostgreSQL and a bucket, as people do it, with an endpoint that goes along."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.buckets import a_bucket_server
from support.models import save_mlp
from support.node import wait_until
from support.postgres import PASSWORD, PostgresServer
from support.s3 import SECRET, S3Server
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
INPUTS = {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}]}


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[S3Server]:
    with a_bucket_server(tmp_path / "s3") as running:
        yield running


@pytest.fixture
def homes(bucket: S3Server, tmp_path: Path) -> Iterator[tuple[Shell, Shell]]:
    shells = tuple(
        Shell(
            tmp_path / name,
            **bucket.variables,
            MODELYARD_AUTHENTICATION="1",
            MODELYARD_TAKEOVER_AFTER="3",
        )
        for name in "ab"
    )
    yield shells
    for shell in shells:
        if shell.home.exists():
            shell.run("down")
            shell.kill_all()


def must(shell: Shell, *arguments: str) -> str:
    done = shell.run(*arguments, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def node(shell: Shell) -> str:
    return (shell.home / "run" / "node.url").read_text()


def infer(shell: Shell, endpoint: str, key: str) -> httpx.Response:
    return httpx.post(
        f"{node(shell)}/v2/models/{endpoint}/infer",
        headers={"authorization": f"Bearer {key}"},
        json=INPUTS,
        timeout=60,
    )


def answers(shell: Shell, key: str) -> Any:
    response = wait_until(
        lambda: found if (found := infer(shell, "fraud", key)).status_code == 200 else None,
        what="an answer",
    )
    return response.json()["outputs"]


def used(shell: Shell, name: str) -> float | None:
    keys = shell.json("keys", "list")
    (key,) = [each for each in keys if each["name"] == name]
    return key.get("used")


def test_a_home_becomes_a_teams_with_rows_bytes_and_endpoint_and_comes_back(
    homes: tuple[Shell, Shell], postgres: PostgresServer, tmp_path: Path
) -> None:
    a, b = homes
    team = postgres.create()
    must(a, "up")
    for number in (1, 2):
        (tmp_path / f"v{number}").mkdir()
        save_mlp(tmp_path / f"v{number}" / "model.onnx", seed=number)
        must(a, "models", "push", str(tmp_path / f"v{number}"), "--name", "fraud")
    must(a, "models", "alias", "fraud", "production", "1", "--because", "first")
    must(a, "deploy", "fraud@production", "--name", "fraud")
    must(a, "models", "alias", "fraud", "production", "2", "--because", "newer")
    caller = a.json("keys", "create", "caller", "--project", "default", "--predict-only")["secret"]
    history = a.json("models", "history", "fraud")
    expected = answers(a, caller)
    wait_until(lambda: used(a, "caller") is not None, what="the last use, which was on the node")

    must(a, "down")
    told = a.run("migrate", "--to", team, "--blobs", "s3://yard/models", "--json")
    assert told.returncode == 0, told.stderr
    moved = json.loads(told.stdout)
    assert moved["bytes"]["blobs"] == 2 and PASSWORD not in told.stdout and SECRET not in told.stdout
    shutil.rmtree(moved["bytes"]["kept"])  # all is in the bucket
    must(a, "up")
    assert answers(a, caller) == expected
    assert a.json("models", "history", "fraud") == history
    must(a, "store", "verify", "--deep")

    # Another home that would look elsewhere is told where; then it joins.
    b.home.mkdir()
    config = b.home / "modelyard.toml"
    config.write_text(f'database = "{team}"\n')
    refused = b.run("up")
    assert refused.returncode == 1 and "let the setting blobs be s3://yard/models" in refused.stderr
    assert PASSWORD not in refused.stdout + refused.stderr
    config.write_text(f'database = "{team}"\nblobs = "s3://yard/models"\n')
    must(b, "up")
    assert b.json("models", "history", "fraud") == history
    must(b, "deploy", "fraud/1", "--name", "there")
    own = (b.home / "key").read_text().strip()
    assert infer(b, "there", own).json()["outputs"] == expected
    refused = a.run("migrate", "--blobs", "disk")
    assert refused.returncode == 1 and "modelyard down" in refused.stderr
    must(b, "delete", "there", "--yes")
    must(b, "down")
    must(a, "down")

    # Its control plane counts as gone only when it has said nothing for a while.
    wait_until(lambda: a.run("migrate", "--blobs", "disk").returncode == 0, what="the bytes are back")
    must(a, "migrate", "--to", "embedded")
    assert "blobs" not in (a.home / "modelyard.toml").read_text()
    must(a, "up")
    assert answers(a, caller) == expected
    assert a.json("models", "history", "fraud") == history
    must(a, "store", "verify", "--deep")
    postgres.drop(team)
