"""Files pushed and pulled by both clients, against a control plane of its own process: whole, resumed, or not there."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import modelyard
from modelyard.client import AsyncClient, Client, pull_flow
from modelyard.core.errors import Conflict, NotFound, RejectedContent

CODE = b"def predict(x):\n    return x\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "double"
    (folder / "sub folder").mkdir(parents=True)
    (folder / "model.py").write_bytes(CODE)
    (folder / "sub folder" / "ü%.bin").write_bytes(bytes(range(256)) * 40)
    (folder / "empty").write_bytes(b"")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_was_pushed_is_pulled(
    start: Callable[..., Any], files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = start().wait()
    monkeypatch.setattr(pull_flow, "_PIECE", 1000)
    with Client(control.url) as client:
        first = client.push(files)
        again = client.push(files, "double")
        assert (first.new, again.new, again.version.number) == (True, False, 1)
        page = httpx.get(first.url.replace("/models/", "/api/v1/models/")).json()
        assert page["digest"] == first.version.digest
        pulled = client.pull("double/1", tmp_path / "here")
        assert contents(pulled.folder) == contents(files)
        with pytest.raises(Conflict, match="is there already"):
            client.pull("double", tmp_path / "here")
        with pytest.raises(NotFound):
            client.pull("double/7", tmp_path / "seven")
        coming = tmp_path / f".more.{first.version.digest[:12]}.partial"
        coming.mkdir()
        (coming / "model.py").write_bytes(CODE)  # what a pull that was broken off had
        (coming / "empty").symlink_to(tmp_path / "elsewhere")
        (coming / "empty").unlink()
        folder = modelyard.pull("double", 1, to=tmp_path / "more", client=client)
        assert contents(folder) == contents(files)
        assert not coming.exists()

    async def awaited() -> Path:
        async with AsyncClient(control.url) as other:
            return (await other.pull("double", tmp_path / "awaited")).folder

    assert contents(asyncio.run(awaited())) == contents(files)
    missing = httpx.get(f"{control.url}/api/v1/models/double/versions/1/files/../../x")
    assert missing.status_code == 404
    assert (
        httpx.get(f"{control.url}/api/v1/models/double/versions/1/files/none").json()["code"] == "not_found"
    )


def test_bytes_that_are_others_than_the_version_s_are_not_kept(
    start: Callable[..., Any], files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = start().wait()
    monkeypatch.setattr(pull_flow, "_body", lambda outcome: bytes(len(outcome.body)))
    with Client(control.url) as client:
        client.push(files)
        with pytest.raises(RejectedContent, match="did not come as the version has it"):
            client.pull("double", tmp_path / "here")
    assert [path.name for path in tmp_path.iterdir() if "here" in path.name] == []
