"""Models from the web, from git and from mirrors, by the command line; against servers on this machine."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from support.repositories import Forge, make
from support.shell import Shell
from support.web import Web

pytestmark = pytest.mark.timeout(300)

DOUBLE = b"def predict(x: int):\n    return 2 * x\n"


def packed(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def test_a_model_at_an_address_is_one_command_away(shell: Shell, tmp_path: Path) -> None:
    make(tmp_path / "there" / "double-git", {"model.py": DOUBLE})
    archive = packed({"double-1.0/model.py": DOUBLE})
    digest = hashlib.sha256(archive).hexdigest()
    forge, web = Forge(tmp_path / "there"), Web({"/v1/double.tar.gz": archive})
    with forge.serve() as git, web.serve() as url:
        deployed = shell.json("deploy", f"{url}/v1/double.tar.gz", "--sha256", digest)
        assert (deployed["endpoint"], deployed["state"]) == ("double", "ready")
        assert shell.json("predict", "double", "--set", "x=21")["output"] == 42
        named = ["deploy", f"git+{git}/double-git/.git", "--name", "double"]
        deployed = shell.json(*named)
        assert deployed["version"] == 1  # the same bytes are the same version
        wrong = shell.run("deploy", f"{url}/v1/double.tar.gz", "--sha256", "0" * 64)
        assert wrong.returncode == 1
        assert "checksum" in wrong.stderr
        analysis = shell.json("analyze", f"{url}/v1/double.tar.gz")
        assert analysis["adapter"] == "function"
        assert web.seen[-1].get("if-none-match") is None  # with a checksum and without are two sources
    for arguments, told in (
        (["deploy", "http://example.org/model.onnx"], "not encrypted"),
        (["deploy", "https://zenodo.org/records/1"], "records/NUMBER/files/NAME"),
        (["analyze", str(tmp_path), "--sha256", "0" * 64], "--sha256 is for the address of a file"),
        (["analyze", "https://example.org/x.onnx", "--sha256", "xyz"], "64 lower-case hexadecimal"),
    ):
        refused = shell.run(*arguments)
        assert refused.returncode == 1, refused.stdout
        assert told in refused.stderr


def test_a_project_at_an_address_is_added_and_nothing_of_it_runs(shell: Shell, tmp_path: Path) -> None:
    files = {
        "moody-1.0/README.md": b"# Moody\n\n```python\nfrom moody import mood\n\nprint(mood('a good day'))\n```\n",
        "moody-1.0/moody.py": b"raise SystemExit('it ran')\n\n\ndef mood(text: str) -> str:\n    return text\n",
        "moody-1.0/setup.py": b"raise SystemExit('it ran')\n",
    }
    with Web({"/moody-1.0.tar.gz": packed(files)}).serve() as url:
        to = tmp_path / "made"
        told = shell.json("add", f"{url}/moody-1.0.tar.gz", "--to", str(to))
        assert told["report"]["name"] == "moody-1.0"
        assert (to / "model.py").is_file()
        assert "it ran" not in json.dumps(told)
        refused = shell.run("update", told["report"]["name"], "--version", "2")
        assert "has no versions" in refused.stderr


def test_a_mirror_is_filled_and_used_without_a_network(shell: Shell, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    told = shell.json("catalog", "fetch", "autodock-vina", "--to", str(mirror))
    assert told == {"name": "autodock-vina", "folder": str(mirror / "autodock-vina")}
    assert (mirror / "autodock-vina.manifest.json").is_file()
    assert (mirror / "modelyard-mirror.json").is_file()
    some = shell.run(
        "catalog", "fetch", "autodock-vina", "scgpt-whole-human", "--to", str(mirror), "--json"
    )
    assert some.returncode == 1
    models = json.loads(some.stdout)["models"]
    assert [each.get("code") for each in models] == [None, "unavailable"]
    assert "Google Drive" in models[1]["error"]
    assert not (mirror / "scgpt-whole-human").exists()
    served = Web()
    served.files = {
        f"/{path.relative_to(mirror)}": path.read_bytes() for path in mirror.rglob("*") if path.is_file()
    }
    with served.serve() as url:
        shell.environment |= {"MODELYARD_MIRROR": url}
        brought = Path(shell.json("catalog", "fetch", "autodock-vina")["folder"])
        assert (brought / "model.yaml").read_bytes() == (
            mirror / "autodock-vina" / "model.yaml"
        ).read_bytes()
    again = shell.run("catalog", "fetch", "autodock-vina")  # nobody is there now
    assert again.returncode == 0
    assert "cannot be reached" in again.stderr
    for arguments in ([], ["autodock-vina", "--all"], ["--all", "--category", "docking"]):
        assert shell.run("catalog", "fetch", *arguments).returncode == 2
    assert (
        "read alone"
        in shell.run("catalog", "fetch", "autodock-vina", "--to", "https://example.org/m").stderr
    )
