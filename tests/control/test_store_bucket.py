"""A home whose blobs are in a bucket: uploads go there, and what is served is fetched from there."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.control.app import create_app
from modelyard.core.errors import Conflict
from modelyard.core.settings import Settings
from support.models import save_mlp
from support.s3 import S3Server

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3") / "server") as running:
        yield running


@pytest.fixture
def settings(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return Settings(home=str(tmp_path / "home"), control_port=0, blobs=f"s3://yard/{tmp_path.name}")


def test_a_model_goes_into_the_bucket_and_is_laid_out_from_it(
    client: Any, upload: Any, settings: Settings, tmp_path: Path
) -> None:
    data = save_mlp(tmp_path / "m.onnx", sizes=(256, 256, 256)).read_bytes()
    made = client.post("/api/v1/models/m/versions", json={"upload": upload(client, {"m.onnx": data})})
    assert made.status_code == 201
    platform = client.app.state.platform
    assert client.get("/api/v1/store").json()["place"] == settings.blobs
    assert client.get("/api/v1/store").json()["stored"] >= len(data)
    assert not any((platform.home.blobs / "objects").iterdir())
    shutil.rmtree(platform.home.blobs / "cache")
    version = platform.versions.get("m", 1)
    folder = platform.blobs.lay_out(version.manifest, platform.version_folder(version.digest))
    assert (folder / "m.onnx").read_bytes() == data
    assert client.post("/api/v1/store/verify", json={"deep": True}).json()["troubles"] == []


def test_blobs_are_not_looked_for_where_they_do_not_lie(
    client: Any, settings: Settings, tmp_path: Path
) -> None:
    for other in (None, "s3://yard/elsewhere"):
        with pytest.raises(Conflict, match="set it to s3://yard/"):
            create_app(Settings(home=settings.home, control_port=0, blobs=other))
    here = tmp_path / "local"
    local = Settings(home=str(here), control_port=0)
    create_app(local).state.platform.blobs.put([b"here"])
    with pytest.raises(Conflict, match="lie on its disk"):
        create_app(Settings(home=str(here), control_port=0, blobs=settings.blobs))
