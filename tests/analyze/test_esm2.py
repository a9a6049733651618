"""Folders of ESM-2: what they are, and what is not one."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent
from support.models import esm2_folder


@pytest.fixture
def esm2(tmp_path: Path) -> dict[str, bytes]:
    """The files of a small one."""
    folder = esm2_folder(tmp_path / "model", layers=1, dims=16, heads=2)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed(files: dict[str, bytes], **values: Any) -> dict[str, bytes]:
    return files | {"config.json": json.dumps(json.loads(files["config.json"]) | values).encode()}


def without(files: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name not in names}


def test_an_esm2_folder_takes_sequences(files_of, esm2):
    analysis = analyze(files_of(esm2))
    assert (analysis.format, analysis.adapter) == ("transformers", "esm2")
    assert [spec.name for spec in analysis.signature.inputs] == ["sequence"]
    embedding = next(spec for spec in analysis.signature.outputs if spec.name == "embedding")
    assert embedding.shape == (16,)
    assert analysis.options["max_length"] == 1022
    assert analysis.example == {"sequence": "MKTVRQERLKSIVRILERSKEPVSGAQL"}
    assert not any(line.startswith("transformers") for line in analysis.requirements)
    assert "1 of width 16, 2 heads" in analysis.details["layers"]


def test_it_needs_no_tokenizer_file(files_of, esm2):
    assert analyze(files_of(without(esm2, "vocab.txt", "tokenizer_config.json"))).adapter == "esm2"


@pytest.mark.parametrize("architecture", ["EsmForSequenceClassification", "EsmForTokenClassification"])
def test_other_tasks_are_refused_by_their_name(files_of, esm2, architecture):
    with pytest.raises(RejectedContent, match=architecture):
        analyze(files_of(changed(esm2, architectures=[architecture])))


def test_esmfold_is_refused(files_of, esm2):
    with pytest.raises(RejectedContent, match="a folding model"):
        analyze(files_of(changed(esm2, architectures=[], is_folding_model=True)))


def test_pickled_weights_alone_are_to_be_converted(files_of, esm2):
    files = without(esm2, "model.safetensors") | {"pytorch_model.bin": b"PK\x03\x04"}
    with pytest.raises(RejectedContent, match="convert them"):
        analyze(files_of(files))


def test_a_config_that_says_too_little_is_refused(files_of, esm2):
    with pytest.raises(RejectedContent, match="num_attention_heads"):
        analyze(files_of(changed(esm2, num_attention_heads=None)))


def test_absolute_positions_are_no_esm2(files_of, esm2):
    with pytest.raises(RejectedContent, match=r"no tokenizer\.json"):
        analyze(files_of(changed(esm2, position_embedding_type="absolute")))
