"""Repositories of the hub: what is taken, gone on with, refused; against a hub on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.core.errors import ModelyardError
from modelyard.package.hub import Remote, chosen
from support.hub import Hub

WEIGHTS = bytes(range(256)) * 100_000  # 25.6 MB; the library writes 10 MiB at a time
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "README.md": b"# A model",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": WEIGHTS,
    "onnx/model.onnx": b"onnx",
    "1_Pooling/config.json": b"{}",
    "tf_model.h5": b"h5",
}
PROGRAM = """
import sys
from pathlib import Path
from modelyard.core.errors import ModelyardError
from modelyard.pipeline.fetch import fetch_hub
try:
    print(fetch_hub(sys.argv[1], Path(sys.argv[2]), progress=lambda line: print(line, file=sys.stderr)).folder)
except ModelyardError as error:
    print(error.code, error.message)
    sys.exit(3)
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub({"owner/name": FILES})
    with made.serve() as url:
        made.url = url  # type: ignore[attr-defined]
        yield made


def fetch(
    hub: Hub, tmp_path: Path, name: str = "owner/name", **more: str
) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the library reads its settings when it is imported."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, name, str(tmp_path / "hub")],
        env={
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            **more,
        },  # type: ignore[attr-defined]
        capture_output=True,
        text=True,
    )


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_repository_is_taken_without_the_copies_of_its_weights(hub: Hub, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    place = Path(done.stdout.strip())
    assert place.name == "name"
    assert names(place) == ["1_Pooling/config.json", "README.md", "config.json", "model.safetensors"]
    assert (place / "model.safetensors").read_bytes() == WEIGHTS
    assert "downloading 4 files of owner/name (25.6 MB)" in done.stderr
    hub.asked.clear()
    assert fetch(hub, tmp_path).stdout == done.stdout
    assert [path for _, path, _ in hub.asked] == ["/api/models/owner/name"], "it is here already"
    hub.sha = "f" * 40
    assert fetch(hub, tmp_path).stdout != done.stdout, "another commit is another folder"


def test_a_download_that_is_broken_off_is_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    """Cut, and every other try refused: what has come is kept, and only the rest is fetched the next time."""
    hub.break_after = 22_000_000
    done = fetch(hub, tmp_path)
    ranges = [
        wanted
        for method, path, wanted in hub.asked
        if method == "GET" and path.endswith("model.safetensors")
    ]
    assert ranges[0] == ""
    if done.returncode:  # the library itself tries again, or leaves it to us
        assert "cannot be fetched" in done.stdout
        assert "What has come is kept" in done.stdout
        done = fetch(hub, tmp_path)
        ranges = [
            wanted
            for method, path, wanted in hub.asked
            if method == "GET" and path.endswith("model.safetensors")
        ]
    assert done.returncode == 0, done.stdout + done.stderr
    assert (Path(done.stdout.strip()) / "model.safetensors").read_bytes() == WEIGHTS
    starts = [int(each.removeprefix("bytes=").partition("-")[0]) for each in ranges[1:]]
    assert starts, ranges
    assert min(starts) >= 10 * 2**20


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("owner/other", "not_found The hub shows no model 'owner/other'"),
        ("owner/name@v9", "not_found owner/name has no revision 'v9'"),
        ("../../etc", "is no name of the hub"),
    ],
)
def test_what_is_not_there_is_told(hub: Hub, tmp_path: Path, name: str, said: str) -> None:
    done = fetch(hub, tmp_path, name)
    assert done.returncode == 3
    assert said in done.stdout
    assert names(tmp_path / "hub") == [] or not (tmp_path / "hub").exists()


def test_terms_that_were_not_accepted_are_told(hub: Hub, tmp_path: Path) -> None:
    hub.status, hub.headers = 403, {"X-Error-Code": "GatedRepo"}
    done = fetch(hub, tmp_path)
    assert done.returncode == 3
    assert "accept them, and set HF_TOKEN" in done.stdout


def test_a_hub_that_is_away_is_told(hub: Hub, tmp_path: Path) -> None:
    done = fetch(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 3
    assert done.stdout.startswith("unavailable owner/name cannot be fetched")
    assert fetch(hub, tmp_path, HF_HUB_OFFLINE="1").stdout.startswith("unavailable")


def test_a_full_disk_is_told_before(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.package import hub as module

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(ModelyardError, match="make room first"):
        module.download(
            module.Commit("owner/name", "0" * 40, (Remote("model.safetensors", 10**9),)),
            tmp_path / "x",
            progress=print,
        )


def paths(*names: str) -> list[Remote]:
    return [Remote(name, 1) for name in names]


def test_the_best_copy_of_the_weights_is_chosen() -> None:
    both = paths(
        "config.json", "a.safetensors", "a.safetensors.index.json", "b.bin", "c.onnx", "original/x.pth"
    )
    assert [each.path for each in chosen(both, None)] == [
        "config.json",
        "a.safetensors",
        "a.safetensors.index.json",
    ]
    graph = paths(
        "config.json", "onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_q4.onnx", "tf_model.h5"
    )
    assert [each.path for each in chosen(graph, None)] == [
        "config.json",
        "onnx/model.onnx",
        "onnx/model.onnx_data",
    ]
    old = paths("config.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "flax_model.msgpack")
    assert [each.path for each in chosen(old, None)][1:] == [
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ]
    assert chosen(paths("anything.xyz"), None) == paths("anything.xyz")
    assert [each.path for each in chosen(paths("m/a.gguf", "m/b.gguf", "n"), "m/a.gguf")] == ["m/a.gguf"]
    assert [each.path for each in chosen(paths("m/a.gguf", "m/b.gguf", "mm"), "m")] == [
        "m/a.gguf",
        "m/b.gguf",
    ]
