"""Programs that a few lines of a recipe's own stand before: what is wrong is told, what they leave is the answer."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze import analyze
from modelyard.catalog import recipe
from modelyard.catalog.catalog import load
from modelyard.store.files import FolderFiles


@pytest.mark.parametrize(
    ("name", "record", "code", "why"),
    [
        ("boltz-2", {"sequence": "MK1"}, "invalid_input", "sequence: chain 1[2]: '1' is no amino acid"),
        (
            "boltz-2",
            {"sequence": "MK"},
            "internal",
            "There is no program boltz on this machine: pip install",
        ),
        ("chai-1", {"sequence": ""}, "invalid_input", "Give a sequence, or a fasta."),
        ("chai-1", {"sequence": "MK"}, "internal", "no program chai"),
        ("protenix-v1", {"input": {"sequences": []}}, "invalid_input", "is none of no checkpoints"),
        ("alphafold3", {"input": {"sequences": [{"dna": {}}]}}, "internal", "no program alphafold3"),
        (
            "rfantibody",
            {"target": "t", "framework": "f", "hotspots": "x"},
            "invalid_input",
            "hotspots: residues",
        ),
        ("colabfold", {"sequence": "MKV"}, "internal", "weights has no params_model_1_ptm.npz"),
    ],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, name: str, record: dict[str, Any], code: str, why: str
) -> None:
    recipe.lay(load().entries[name], tmp_path)
    (tmp_path / recipe.WEIGHTS).mkdir()
    described = analyze(FolderFiles(tmp_path))
    given = {key: value if isinstance(value, str) else json.dumps(value) for key, value in record.items()}
    run = tmp_path / "run"
    run.mkdir()
    with ExecutorProcess(run) as executor:
        assert executor.start("command", tmp_path, described.options)["type"] == "HELLO"
        refused = executor.batch({key: np.array(value, dtype=object) for key, value in given.items()})[0]
    assert (refused["code"], why in refused["message"]) == (code, True), refused["message"]
    assert "Traceback" not in refused["message"]


STAND_IN = """#!{python}
# Writes what the program of this name does, where it does.
import json, os, pathlib, sys
name = pathlib.Path(sys.argv[0]).name
out = pathlib.Path("out")
if name == "boltz":
    out = out / "boltz_results_input/predictions/input"
    out.mkdir(parents=True)
    (out / "input_model_0.cif").write_text("data_" + os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    (out / "confidence_input_model_0.json").write_text(json.dumps({{"ptm": 0.5}}))
    assert pathlib.Path("cache/ccd.pkl").read_text() == "ccd"
    print("Predicting DataLoader 0:  50%|#####")
elif name == "chai":
    out.mkdir()
    for number, score in enumerate((0.2, 0.6)):
        (out / f"pred.model_idx_{{number}}.cif").write_text(f"data_{{number}}")
        print(f"Score={{score:.4f}}, writing output to out/pred.model_idx_{{number}}.cif")
    assert os.environ["CHAI_DOWNLOADS_DIR"].endswith("/weights")
elif name == "protenix":
    out = out / "model/seed_101/predictions"
    out.mkdir(parents=True)
    (out / "model_sample_0.cif").write_text("data_0")
    (out / "model_summary_confidence_sample_0.json").write_text("{{}}")
elif name == "alphafold3":
    (out / "model").mkdir(parents=True)
    (out / "model/model_model.cif").write_text("data_0")
    (out / "model/model_summary_confidences.json").write_text("{{}}")
"""


@pytest.mark.parametrize(
    ("name", "weights", "record", "structure", "scores"),
    [
        ("boltz-1", ["boltz1_conf.ckpt", "ccd.pkl"], {"sequence": "MK"}, "data_", {"confidence": [{"ptm": 0.5}]}),
        ("chai-1", [], {"sequence": "MK"}, "data_1", {"answered": 1, "scores": [0.2, 0.6]}),
        (
            "protenix-v1",
            [
                "checkpoint/protenix_base_default_v1.0.0.pt", "common/components.cif",
                "common/components.cif.rdkit_mol.pkl", "common/clusters-by-entity-40.txt",
                "common/obsolete_release_date.csv",
            ],
            {"input": '{"sequences": [{"proteinChain": {"sequence": "MK", "count": 1}}]}'}, "data_0", [{}],
        ),
        ("alphafold3", [], {"input": '{"sequences": [{"protein": {"id": "A", "sequence": "MK"}}]}'}, "data_0", {}),
    ],
)  # fmt: skip
def test_what_a_program_leaves_is_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, weights: list[str], record: dict[str, str],
    structure: str, scores: Any,
) -> None:  # fmt: skip
    """The programs here are stand-ins, which leave the files that the real ones do."""
    entry = load().entries[name]
    recipe.lay(entry, tmp_path)
    for path in weights:
        (tmp_path / recipe.WEIGHTS / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / recipe.WEIGHTS / path).write_text("ccd")
    programs, run = tmp_path / "programs", tmp_path / "run"
    programs.mkdir()
    run.mkdir()
    for each in ("boltz", "chai", "protenix", "alphafold3"):
        (programs / each).write_text(STAND_IN.format(python=sys.executable))
        (programs / each).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    described = analyze(FolderFiles(tmp_path))
    with ExecutorProcess(run) as executor:
        assert executor.start("command", tmp_path, described.options)["type"] == "HELLO"
        answer = executor.batch({key: np.array(value, dtype=object) for key, value in record.items()})[0]
    assert "message" not in answer, answer
    assert answer["structure"].item().decode() == structure
    other = next(key for key in answer if key != "structure")
    assert json.loads(answer[other].item()) == scores
