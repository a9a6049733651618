"""Programs of the catalog with their real weights: what an endpoint answers is what they write when run by hand."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze import analyze
from modelyard.catalog.catalog import load
from modelyard.package.environment import Environments
from modelyard.pipeline.fetch import fetch
from modelyard.store.files import FolderFiles

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


class Program:
    """An entry as it is deployed: fetched, analysed, in an environment of its own."""

    def __init__(self, name: str, tmp_path: Path, environments: Environments) -> None:
        self.entry = load().entries[name]
        self.folder = fetch(self.entry, tmp_path / "catalog", progress=lambda _: None)
        self.described = analyze(FolderFiles(self.folder))
        environment = environments.ensure(list(self.described.requirements))
        self.python = environment.python
        self._tmp_path = tmp_path

    def ask(self, *records: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> list[Any]:
        """The answers of an executor."""
        given = [
            {name: np.array(value, dtype=object) for name, value in record.items()} for record in records
        ]
        with ExecutorProcess(self._tmp_path, python=self.python, timeout=600.0) as executor:
            hello = executor.start("command", self.folder, self.described.options)
            assert hello["type"] == "HELLO", hello
            return executor.batch(*given, parameters=parameters or [{}] * len(given))

    def run(self, *arguments: str | Path) -> None:
        program, *others = arguments
        subprocess.run(
            [Path(self.python).parent / program, *others],
            cwd=self._tmp_path,
            check=True,
            capture_output=True,
        )


def test_piper_speaks(tmp_path: Path, environments: Environments) -> None:
    piper = Program("piper-joe-medium", tmp_path, environments)
    steady = {"noise_scale": 0.0, "noise_w_scale": 0.0}
    text = "The committee approved the new budget.\nNobody objected."
    spoken, slow, wrong = piper.ask(
        {"text": text}, {"text": text}, {"text": text},
        parameters=[steady, {**steady, "length_scale": 2.0}, {"voice": "../../secret"}],
    )  # fmt: skip
    (tmp_path / "in.txt").write_text(text)
    voice = piper.folder / "weights" / "en_US-joe-medium.onnx"
    piper.run(
        "piper", "-m", voice, "-i", "in.txt", "-f", "out.wav", "--noise-scale", "0", "--noise-w-scale", "0"
    )
    assert spoken["audio"].item() == (tmp_path / "out.wav").read_bytes()
    assert len(slow["audio"].item()) > 1.5 * len(spoken["audio"].item())
    assert wrong["code"] == "invalid_input"
    assert "is no voice that is here; there are en_US-joe-medium." in wrong["message"]


def test_spliceai_sees_that_a_donor_is_lost(tmp_path: Path, environments: Environments) -> None:
    spliceai = Program("spliceai", tmp_path, environments)
    given: dict[str, Any] = dict(spliceai.described.example or {})
    example = {name: base64.b64decode(value["b64"]) for name, value in given.items()}
    scored, wrong, none = spliceai.ask(
        example, example, {**example, "variants": b"no VCF"}, parameters=[{}, {"distance": 5000}, {}]
    )
    line = scored["variants"].item().decode().splitlines()[-1]
    assert spliceai.entry.expected is not None
    assert line.split("\t")[7] == spliceai.entry.expected["variants"]
    assert wrong["code"] == "invalid_input"
    assert "is it VCF/BCF format?" in none["message"]
