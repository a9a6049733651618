"""model.yaml: refines what was found, and is refused where it is wrong."""

import json
from pathlib import Path

import pytest

from modelyard.analyze import analyze
from modelyard.analyze.model_yaml import schema
from modelyard.core.errors import RejectedContent

FUNCTION = {"model.py": b"def predict(a: int, b: int = 1): ..."}


def test_the_published_schema_is_this_one():
    published = Path(__file__).parents[2] / "docs" / "model.yaml.schema.json"
    assert json.loads(published.read_text()) == schema(), "run: make schema"


def test_an_empty_file_changes_nothing(files_of):
    assert (
        analyze(files_of(FUNCTION | {"model.yaml": b""})).signature == analyze(files_of(FUNCTION)).signature
    )


def test_outputs_of_a_function_can_be_told(files_of):
    text = b"signature:\n  outputs:\n  - {name: score, datatype: FP64}\nrequirements: [numpy]\nexample: {a: 3}\n"
    analysis = analyze(files_of(FUNCTION | {"model.yaml": text}))
    assert [spec.name for spec in analysis.signature.outputs] == ["score"]
    assert analysis.options["signature"]["outputs"][0]["name"] == "score"
    assert analysis.requirements == ("numpy",)
    assert analysis.example == {"a": 3}


def test_what_a_function_takes_is_a_parameter_where_its_author_says_so(files_of):
    parameters = b"signature:\n  parameters:\n  - {name: b, type: int, default: 1}\n"
    signature = analyze(files_of(FUNCTION | {"model.yaml": parameters})).signature
    assert [spec.name for spec in signature.inputs] == ["a"]
    assert [spec.name for spec in signature.parameters] == ["b"]
    told = parameters + b"  inputs:\n  - {name: a, datatype: INT32}\n"
    signature = analyze(files_of(FUNCTION | {"model.yaml": told})).signature
    assert [(spec.name, spec.datatype) for spec in signature.inputs] == [("a", "INT32")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("adaptor: onnx", "adaptor"),
        ("adapter: magic", "magic"),
        ("a: 1\na: 2", "the key a again|key 'a' again|has the key"),
        ("a: &x [1]\nb: *x", "an alias"),
        ("a: !!python/name:os.system x", "a tag"),
        ("[" * 40 + "]" * 40, "nested deeper"),
        ("a: [", "line 1|line 2"),
        ("signature: {outputs: [{name: y, datatype: FP31}]}", "FP31"),
        ("signature: {outputs: [{name: y, datatype: FP32}, {name: y, datatype: FP32}]}", "there twice"),
        ("signature: {inputs: [{name: z, datatype: FP32}]}", "inputs are z; the model's files have a, b"),
        ("signature: {batched: true}", "one record at a time"),
        ("requirements: ['not a requirement !']", "not a requirement"),
        ("example: {b: 1}", "lacks the input 'a'"),
        ("example: {a: 1, c: 1}", "example has 'c'"),
        ("example: {a: 2020-01-01}", "a date"),
        ("adapter: onnx", "no file for it"),
        ("python: snake", "no version of Python"),
        ("python: '<3.9'", "allows no Python"),
        ("python: 3.10", "put it in quotes"),
        ("system_packages: [libGL]", "no name of a Debian package"),
        ("system_packages: ['a; rm -rf /']", "no name of a Debian package"),
        ("system_packages: ['--purge']", "no name of a Debian package"),
    ],
)
def test_what_is_wrong_is_told(files_of, text, why):
    with pytest.raises(RejectedContent, match=why) as caught:
        analyze(files_of(FUNCTION | {"model.yaml": text.encode()}))
    assert caught.value.field.startswith("model.yaml")


def test_names_of_a_graph_cannot_be_changed(files_of, onnx_bytes):
    text = b"signature: {inputs: [{name: x, datatype: INT64, shape: [4]}]}"
    with pytest.raises(RejectedContent, match="'x' is INT64; the model's files say FP32"):
        analyze(files_of({"m.onnx": onnx_bytes, "model.yaml": text}))


def test_over_a_mebibyte_is_not_read(files_of):
    with pytest.raises(RejectedContent, match="at most 1048576"):
        analyze(files_of(FUNCTION | {"model.yaml": b"#" * (1024 * 1024 + 1)}))


def test_python_and_system_packages_are_told(files_of):
    text = b"python: '>=3.9,<3.11'\nsystem_packages: [libgl1, libGL.so.1, g++]\n"
    analysis = analyze(files_of(FUNCTION | {"model.yaml": text}))
    assert (analysis.python, analysis.system_packages) == (">=3.9,<3.11", ("libgl1", "libGL.so.1", "g++"))


def test_who_asks_for_a_requirement_is_known(files_of):
    files = FUNCTION | {"requirements.txt": b"numpy\n", "model.yaml": b"requirements: [tqdm]\n"}
    assert analyze(files_of(files)).origins == {"numpy": "the model", "tqdm": "the model"}
    text = b"adapter: vina\nrequirements: [tqdm]\n"
    origins = analyze(files_of({"model.yaml": text})).origins
    assert origins.pop("tqdm") == "the model"
    assert set(origins.values()) == {"the adapter 'vina'"}


def test_that_it_needs_the_network_is_said_and_not_guessed(files_of):
    assert analyze(files_of(FUNCTION | {"model.yaml": b"network: true"})).network is True
    assert analyze(files_of(FUNCTION)).network is False
    with pytest.raises(RejectedContent, match="network"):
        analyze(files_of(FUNCTION | {"model.yaml": b"network: maybe"}))
