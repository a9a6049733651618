"""Models that come as a package are told by their paths, and described by their adapter's file."""

import importlib
from pathlib import Path

import pytest

from modelyard.analyze import analyze
from modelyard.analyze.families import Described, Family, families, names
from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import Internal, RejectedContent
from modelyard_executor.adapters import create

FILES = {
    "antiberty/__init__.py": b"",
    "antiberty/trained_models/vocab.txt": b"[PAD]",
    "antiberty/trained_models/AntiBERTy_md_smooth/pytorch_model.bin": b"PK",
}

GOOD = """
FAMILY = {
    'format': 'Good', 'files': [], 'requirements': ['numpy'], 'example': {'text': 'hi'},
    'signature': {'inputs': [{'name': 'text', 'datatype': 'BYTES', 'shape': [], 'kind': 'text'}]},
}
"""


@pytest.mark.parametrize("family", families(), ids=lambda each: each.NAME)
def test_each_describes_itself_and_can_be_made(family: Family) -> None:
    described = family.described
    signature = described.signature
    assert all(spec.datatype in DATATYPES for spec in (*signature.inputs, *signature.outputs))
    assert signature.batched
    assert described.requirements
    if described.example is not None:
        required = {spec.name for spec in signature.inputs if not spec.optional}
        assert required <= described.example.keys() <= {spec.name for spec in signature.inputs}
    module = importlib.import_module(f"modelyard_executor.adapters.families.{family.NAME}")
    assert module.FAMILY["format"] == described.format
    cost = create(family.NAME).cost()
    assert cost["cost"] == "rows" or cost["of"] in {spec.name for spec in signature.inputs}


def test_a_package_is_told_by_its_paths(files_of) -> None:
    found = analyze(files_of(FILES))
    assert (found.format, found.adapter, found.executes) == ("AntiBERTy", "antiberty", "code")
    assert found.signature is not None
    assert [spec.name for spec in found.signature.inputs] == ["sequence"]
    assert any(line.startswith("transformers") for line in found.requirements)
    assert found.options.keys() == {"signature"}


@pytest.mark.parametrize("lacks", list(FILES))
def test_without_one_of_them_it_is_not(files_of, lacks: str) -> None:
    with pytest.raises(RejectedContent):
        analyze(files_of({path: data for path, data in FILES.items() if path != lacks}))


def test_it_is_said_which_path_is_missing(files_of) -> None:
    with pytest.raises(RejectedContent, match=r"no antiberty/trained_models/vocab\.txt here"):
        analyze(files_of({"model.yaml": b"adapter: antiberty", "antiberty/__init__.py": b""}))


def test_a_program_without_files_is_chosen_by_name(files_of) -> None:
    assert analyze(files_of({"model.yaml": b"adapter: vina"})).adapter == "vina"
    with pytest.raises(RejectedContent, match=r"no file|model\.yaml"):
        analyze(files_of({"model.yaml": b""}))


def test_the_author_may_refine_it(files_of) -> None:
    declared = b"requirements: [torch<2.10]\nexample: {sequence: EVQL}"
    found = analyze(files_of({**FILES, "model.yaml": declared}))
    assert found.requirements[-1] == "torch<2.10"
    assert found.example == {"sequence": "EVQL"}


def test_an_unknown_adapter_is_told_with_those_that_are_known(files_of) -> None:
    with pytest.raises(RejectedContent, match=r"no adapter .antibert.; known: .*antiberty"):
        analyze(files_of({"model.yaml": b"adapter: antibert"}))


@pytest.mark.parametrize(
    ("config", "adapter"),
    [
        (b'{"model_type": "esm", "architectures": ["EsmForProteinFolding"]}', "esmfold"),
        (b'{"note": "EsmForProteinFolding", "architectures": ["EsmForMaskedLM"]}', None),
        (b'{"architectures": "EsmForProteinFolding"}', None),
        (b'"EsmForProteinFolding"', None),
        (b'{"EsmForProteinFolding"', None),
    ],
)
def test_some_are_told_by_the_architecture_in_their_config(
    files_of, config: bytes, adapter: str | None
) -> None:
    files = files_of({"config.json": config, "model.safetensors": b""})
    found = [family.NAME for family in families() if family.detect(files)]
    assert found == ([adapter] if adapter else [])


def test_names_are_those_of_the_folder() -> None:
    assert {"antiberty", "vina"} <= names()
    assert isinstance(families()[0].described, Described)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FAMILY = {\n  'a': }", r"odd\.py, line 2: "),
        ("x = 1", "has no FAMILY"),
        ("FAMILY = {'format': str(1)}", "no literal; it is read and not run"),
        ("FAMILY = {'format': 'a' + 'b'}", "no literal"),
        ("FAMILY = {'format': 1}", r"Expected `str`.*\$\.format"),
        ("COST = {}\nFAMILY = {}", "line 1: COST belongs into the class"),
        (GOOD.replace("BYTES", "STRING"), "'text' has the datatype 'STRING'; known: BOOL"),
        (GOOD.replace("'text': 'hi'", "'txt': 'hi'"), r"example has \['txt'\]"),
    ],
)
def test_what_an_author_has_to_mend_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "odd.py").write_text(text)
    with pytest.raises(Internal, match=said):
        _ = Family(tmp_path / "odd.py").described


def test_a_family_that_is_right_is_taken(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    assert Family(tmp_path / "good.py").described.example == {"text": "hi"}
