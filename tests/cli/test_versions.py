"""One version on the command line: where it came from, who signed it, what it is made of."""

import json
import subprocess
from pathlib import Path

import pytest

from modelyard.catalog.catalog import load
from modelyard.cli import catalog
from modelyard.cli.add import came_from
from modelyard.core.version import VERSION
from modelyard.host.files import write_json
from modelyard.onboard.material import Material
from support.bill import problem
from support.repositories import Forge, make
from support.shell import Shell
from support.web import Web

pytestmark = pytest.mark.timeout(300)

DOUBLE = b"def predict(x: int):\n    return 2 * x\n"


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def test_a_name_of_nothing_is_told_with_the_one_that_was_meant(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "tumour"
    folder.mkdir()
    (folder / "model.py").write_bytes(DOUBLE)
    shell.json("up")
    shell.json("models", "push", str(folder))
    for command in (
        ["show", "tumuor"],
        ["card", "tumuor"],
        ["history", "tumuor"],
        ["compare", "tumour", "tumuor"],
    ):
        refused = shell.run("models", *command)
        assert refused.returncode == 1, command
        assert "There is no model 'tumuor'. Did you mean 'tumour'?" in refused.stderr, command
    shell.json("deploy", "tumour")
    refused = shell.run("endpoints", "tumor")
    assert "There is no endpoint 'tumor'" in refused.stderr and "Did you mean 'tumour'?" in refused.stderr
    refused = shell.run("models", "show", "elephant")
    assert "There is no model 'elephant'." in refused.stderr and "Did you mean" not in refused.stderr


def test_a_version_tells_each_source_its_signature_and_its_materials(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "double"
    folder.mkdir()
    (folder / "model.py").write_bytes(DOUBLE)
    (folder / "requirements.txt").write_text("msgspec\n")
    files = {"model.py": DOUBLE, "requirements.txt": b"msgspec\n"}
    commit = make(tmp_path / "there" / "double-git", files)
    web = Web({"/v1/model.py.tar": _tar(files)})
    shell.json("deploy", str(folder))
    with Forge(tmp_path / "there").serve() as git, web.serve() as url:
        there = git.replace("://", "://me:secret@")
        for source in (f"git+{there}/double-git/.git", f"{url}/v1/model.py.tar"):
            assert shell.json("deploy", source, "--name", "double")["version"] == 1
        shell.json("deploy", str(folder))
    shown = shell.json("models", "show", "double/1")
    path, repository, archive = (each["source"] for each in shown["provenance"])
    assert path == {"kind": "path", "name": "double", "revision": None, "sha256": None, "of": None}
    assert (repository["kind"], repository["name"]) == ("git", f"{git}/double-git/.git")
    assert len(repository["revision"]) == 40
    assert (archive["kind"], archive["name"], len(archive["sha256"])) == (
        "url",
        f"{url}/v1/model.py.tar",
        64,
    )
    assert {each["client"] for each in shown["provenance"]} == {f"modelyard {VERSION}"}
    assert all("@" in each["user"] for each in shown["provenance"])
    assert {each["digest"] for each in shown["provenance"]} == {shown["version"]["digest"]}
    assert "secret" not in json.dumps(shown) + json.dumps(shell.json("jobs"))
    assert commit is None or repository["revision"] == commit

    private, public, other = (tmp_path / name for name in ("private.pem", "public.pem", "other.pem"))
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private)
    openssl("ec", "-in", private, "-pubout", "-out", public)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "o")
    openssl("ec", "-in", tmp_path / "o", "-pubout", "-out", other)
    refused = shell.run("models", "verify", "double/1", "--key", str(public))
    assert refused.returncode == 1
    assert "has no signature" in refused.stderr
    shell.json("models", "sign", "double/1", "--key", str(private))
    assert shell.json("models", "verify", "double", "--key", str(public))["verified"] is True
    refused = shell.run("models", "verify", "double/1", "--key", str(other))
    assert refused.returncode == 1
    assert "none of the keys other.pem" in refused.stderr
    assert "no private key" in shell.run("models", "sign", "double/1", "--key", str(public)).stderr

    told = shell.run("models", "show", "double/1").stdout
    for words in ("git http", "at " + repository["revision"][:12], "as they say", "signatures", "GPU"):
        assert words in told
    bill = shell.json("models", "sbom", "double/1")
    assert problem(json.dumps(bill)) is None
    assert {"model.py", "msgspec"} <= {each["name"] for each in bill["components"]}
    (environment,) = shell.json("environments")
    place = tmp_path / "environment.json"
    assert shell.run("environments", "sbom", environment["id"][:8], "-o", str(place)).returncode == 0
    assert problem(place.read_text()) is None
    for wrong in ("double/x", "double/0", "double/"):
        assert shell.run("models", "show", wrong).returncode == 2
    assert shell.run("models", "show", "double/7").returncode == 1
    # Measured once it ran, in place of the estimate.
    shell.json("predict", "double", "--set", "x=2")
    measured = shell.json("models", "show", "double/1")["version"]["analysis"]["memory_measured"]
    assert measured is not None and measured > 1_000_000
    assert "memory, measured" in shell.run("models", "show", "double/1").stdout


def test_what_was_added_names_the_project_behind_it(tmp_path: Path) -> None:
    repository = Material(tmp_path, "git", "m", "told", revision="c0ffee")
    source = came_from("m", "https://me:secret@host/a/m.git@v1", repository)
    assert source.of is not None
    assert (source.kind, source.name, source.of.kind) == ("added", "m", "git")
    assert (source.of.name, source.of.revision) == ("https://host/a/m.git", "c0ffee")
    package = came_from(
        "m", "dimorphite-dl", Material(tmp_path, "package", "m", "told", revision="dimorphite-dl==2")
    )
    assert package.of is not None and (package.of.kind, package.of.name) == ("package", "dimorphite-dl==2")
    hub = came_from("m", "hf://o/n@main", Material(tmp_path, "hub", "n", "told", revision="beef"))
    assert hub.of is not None and (hub.of.kind, hub.of.name, hub.of.revision) == ("hub", "o/n", "beef")
    folder = came_from("m", str(tmp_path), Material(tmp_path, "folder", "n", "told"))
    assert folder.of is not None and (folder.of.kind, folder.of.name) == ("path", tmp_path.name)


@pytest.mark.parametrize("kind", ["hub", "package", "url", "git"])
def test_an_entry_of_the_catalog_names_its_own_source(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path))
    entry = next(each for each in load().entries.values() if getattr(each.source, kind) is not None)
    home = tmp_path / "catalog"
    if kind != "package":
        (home / ".revisions").mkdir(parents=True)
        write_json(home / ".revisions" / f"{entry.name}.json", {"revision": "ab" * 32})
    source = catalog._came_from(entry, home / entry.name)
    assert source.of is not None
    assert (source.kind, source.name, source.of.kind) == ("catalog", entry.name, kind)
    assert {"package": None, "url": None}.get(kind, "ab" * 32) == source.of.revision
    if kind == "url":
        assert source.of.sha256 == "ab" * 32
    monkeypatch.setenv("MODELYARD_MIRROR", "s3://key:secret@bucket/models")
    mirrored = catalog._came_from(entry, tmp_path / "elsewhere" / entry.name)
    assert mirrored.of is not None
    assert (mirrored.of.kind, mirrored.of.name) == ("mirror", "s3://bucket/models")


def _tar(files: dict[str, bytes]) -> bytes:
    import io
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"double/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()
