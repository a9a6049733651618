"""A model in a bucket of Google Cloud Storage or Azure becomes a version by one command, and is what was there."""

import os
from pathlib import Path

import obstore
import pytest

from support.clouds import Clouds, store_at
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
FILES = {
    "model.py": b"def predict(x: int):\n    return 2 * x\n",
    "weights/large one.bin": os.urandom(3 << 20),
    "README.md": b"---\nlicense: mit\n---\n# Double\n",
}


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_files_in_a_bucket_become_a_version(
    scheme: str, clouds: Clouds, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.json("up")
    for name, value in clouds.at(scheme).variables.items():
        monkeypatch.setenv(name, value)  # for the writing here
        shell.environment[name] = value  # for the command; the platform has no key to the bucket
    address = f"{scheme}://models/pushed/double"
    for path, data in FILES.items():
        obstore.put(store_at(address), path, data, use_multipart=False)

    pushed = shell.json("models", "push", address)
    assert (pushed["model"], pushed["version"], pushed["new"]) == ("double", 1, True)
    assert pushed["size"] == sum(map(len, FILES.values()))
    shown = shell.json("models", "show", "double/1")
    assert [each["source"]["name"] for each in shown["provenance"]] == [address]
    to = tmp_path / "pulled"
    shell.json("models", "pull", "double/1", "--to", str(to))
    assert {path: (to / path).read_bytes() for path in FILES} == FILES
    assert len([path for path in to.rglob("*") if path.is_file()]) == len(FILES)
    assert shell.json("models", "push", address)["new"] is False

    obstore.put(
        store_at(address), "model.py", b"def predict(x: int):\n    return 3 * x\n", use_multipart=False
    )
    assert shell.json("models", "push", address)["version"] == 2
    nowhere = shell.run("models", "push", f"{scheme}://models/nowhere")
    assert nowhere.returncode == 1 and f"{scheme}://models/nowhere" in nowhere.stderr
