"""ESMFold answers what transformers' own does of each sequence alone; its real architecture, small, with weights drawn
at random."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent
from modelyard.package.environment import Environments
from modelyard.store.files import FolderFiles

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parents[1] / "support" / "esmfold_reference.py"
SEQUENCES = ["MKTVRQERLKSIVRILERSKEPVSG", "GGSWLX", "ACDEFGHIKLMNPQRSTVWYACDEF", "M", "PPGFSPFRPP"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environments: Environments) -> Path:
    """The model in both forms of weights, and what transformers says."""
    folder = tmp_path_factory.mktemp("esmfold")
    (folder / "config.json").write_text('{"architectures": ["EsmForProteinFolding"]}')
    requirements = analyze(FolderFiles(folder)).requirements
    python = environments.ensure(list(requirements)).python
    (folder / "python").write_text(python)
    subprocess.run([python, PROGRAM, folder, json.dumps(SEQUENCES)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def executor(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExecutorProcess]:
    described = analyze(FolderFiles(folder / "safetensors"))
    assert (described.format, described.adapter) == ("ESMFold", "esmfold")
    with ExecutorProcess(
        tmp_path_factory.mktemp("run"), python=(folder / "python").read_text()
    ) as executor:
        hello = executor.start("esmfold", folder / "safetensors", described.options)
        assert hello["type"] == "HELLO", hello
        yield executor


def proteins(*sequences: str) -> list[dict[str, Any]]:
    return [{"sequence": np.array([sequence], dtype=object)} for sequence in sequences]


def places(pdb: str) -> np.ndarray:
    """x, y, z and the B-factor of each atom, with the names of all."""
    atoms = [line for line in pdb.splitlines() if line.startswith("ATOM")]
    return np.array(
        [[float(line[at : at + 8]) for at in (30, 38, 46)] + [float(line[60:66])] for line in atoms]
    )


def test_it_folds_as_transformers_does_alone_and_together(folder: Path, executor: ExecutorProcess) -> None:
    told = json.loads((folder / "told.json").read_text())
    together = executor.batch(*proteins(*SEQUENCES))
    alone = [executor.batch(*proteins(sequence))[0] for sequence in SEQUENCES]
    for answers in (together, alone):
        for answer, expected in zip(answers, told, strict=True):
            found, wanted = places(answer["structure"][0].decode()), places(expected["structure"])
            assert np.abs(found[:, :3] - wanted[:, :3]).max() < 0.005
            # Theirs is told between 0 and 1, with two decimals.
            assert np.abs(found[:, 3] - 100 * wanted[:, 3]).max() < 0.51
            assert answer["plddt"][0] == pytest.approx(expected["plddt"], abs=0.01)
            assert answer["ptm"][0] == pytest.approx(expected["ptm"], abs=1e-4)
            assert answer["mean_plddt"][0] == pytest.approx(found[:, 3].mean(), abs=0.01)
    assert (
        len({round(float(answer["ptm"][0]), 6) for answer in together}) > 1
    )  # not one for the whole batch


def test_a_call_says_how_often_it_goes_through_the_trunk(executor: ExecutorProcess) -> None:
    asked = [{}, {"num_recycles": 1}, {"num_recycles": 0}, {"chunk_size": 3}, {"chunk_size": 0}]
    answers = executor.batch(*proteins(*[SEQUENCES[0]] * 5), parameters=asked)
    same, one, none, chunked, whole = (places(each["structure"][0].decode()) for each in answers)
    assert np.abs(same - one).max() < 0.005  # trained with two passes
    assert np.abs(same - none).max() > 0.05
    assert np.abs(same - chunked).max() < 0.01 and np.abs(same - whole).max() < 0.01


@pytest.mark.parametrize(
    ("sequence", "parameters", "field", "why"),
    [
        ("MKB", {}, "inputs.sequence", "sequence[2]: 'B' is not an amino acid"),
        ("", {}, "inputs.sequence", "is empty"),
        ("MK:VL", {}, "inputs.sequence", "folds no complexes"),
        ("M" * 200_000, {}, "inputs.sequence", "the model reads at most"),
        ("MK", {"num_recycles": 33}, "parameters.num_recycles", "0 to 32"),
        ("MK", {"chunk_size": -1}, "parameters.chunk_size", "1 or more"),
    ],
)
def test_what_cannot_be_folded_is_refused(
    executor: ExecutorProcess, sequence: str, parameters: dict[str, Any], field: str, why: str
) -> None:
    refused, other = executor.batch(*proteins(sequence, "GG"), parameters=[parameters, {}])
    assert (refused["code"], refused["field"]) == ("invalid_input", field)
    assert why in refused["message"]
    assert "structure" in other


def test_weights_of_pytorch_are_read_without_running_them(folder: Path, tmp_path: Path) -> None:
    described = analyze(FolderFiles(folder / "pytorch"))
    with ExecutorProcess(tmp_path, python=(folder / "python").read_text()) as executor:
        assert executor.start("esmfold", folder / "pytorch", described.options)["type"] == "HELLO"
        told = json.loads((folder / "told.json").read_text())
        answer = executor.batch(*proteins(SEQUENCES[1]))[0]
    assert answer["ptm"][0] == pytest.approx(told[1]["ptm"], abs=1e-4)


def test_another_esm_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "esm", "architectures": ["EsmModel"]}')
    (tmp_path / "model.yaml").write_text("adapter: esmfold")
    with pytest.raises(RejectedContent, match="there is no EsmForProteinFolding among the architectures"):
        analyze(FolderFiles(tmp_path))
