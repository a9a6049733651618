"""SavedModel folders are told by their signature, and asked about where their graph reaches for files."""

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent
from support.model_files import VARIABLES, saved_model


def test_a_folder_says_what_it_takes_and_gives(files_of) -> None:
    found = analyze(files_of({"saved_model.pb": saved_model(), **VARIABLES}))
    assert (found.format, found.adapter, found.executes) == ("tensorflow-savedmodel", "tensorflow", "no")
    signature = found.signature
    assert signature is not None
    assert [(each.name, each.datatype, each.shape) for each in signature.inputs] == [("x", "FP32", (4,))]
    assert [(each.name, each.shape) for each in signature.outputs] == [("y", (3,))]
    assert (signature.batched, signature.max_batch) == (True, None)
    assert found.options["inputs"] == {"x": "x:0"}
    assert found.options["tags"] == ["serve"]
    assert "MatMul 1" in found.details["operators"]


def test_text_and_fixed_axes(files_of) -> None:
    found = analyze(files_of({"saved_model.pb": saved_model(shape=(1, 5), datatype=7), **VARIABLES}))
    assert found.signature is not None
    assert (found.signature.max_batch, found.signature.inputs[0].datatype) == (1, "BYTES")
    fixed = analyze(files_of({"saved_model.pb": saved_model(shape=(2, 5)), **VARIABLES})).signature
    assert fixed is not None
    assert (fixed.batched, fixed.inputs[0].shape) == (False, (2, 5))


def test_a_folder_inside(files_of) -> None:
    inside = {
        f"1/{path}": content for path, content in {"saved_model.pb": saved_model(), **VARIABLES}.items()
    }
    assert analyze(files_of(inside)).options["file"] == "1/saved_model.pb"
    with pytest.raises(RejectedContent, match="2 SavedModel folders"):
        analyze(files_of(inside | {"2/saved_model.pb": saved_model()}))


def test_the_signature_that_model_yaml_names(files_of) -> None:
    files = {"saved_model.pb": saved_model(keys=("a", "b")), **VARIABLES}
    with pytest.raises(RejectedContent, match=r"has the signatures a, b\. Say which"):
        analyze(files_of(files))
    found = analyze(files_of(files | {"model.yaml": b"options: {signature: b}"}))
    assert (found.details["signature"], found.details["other signatures"]) == ("b", "a")
    with pytest.raises(RejectedContent, match="asks for the signature 'c'") as caught:
        analyze(files_of(files | {"model.yaml": b"options: {signature: c}"}))
    assert caught.value.field == "model.yaml:options.signature"


def test_other_adapters_have_no_such_option(files_of, onnx_bytes: bytes) -> None:
    with pytest.raises(RejectedContent, match="the adapter onnx has no option 'signature'"):
        analyze(files_of({"m.onnx": onnx_bytes, "model.yaml": b"options: {signature: b}"}))


@pytest.mark.parametrize(
    "operator", ["WriteFile", "ReadFile", "PyFunc", "SaveV2", "RestoreV2", "TextLineDataset", "PrintV2"]
)
def test_a_graph_that_reaches_for_files_needs_trust(files_of, operator: str) -> None:
    called = analyze(files_of({"saved_model.pb": saved_model(operator=operator), **VARIABLES}))
    loaded = analyze(files_of({"saved_model.pb": saved_model(init=operator), **VARIABLES}))
    for found in (called, loaded):
        assert found.executes == "code"
        assert f"'{operator}'" in found.because


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"saved_model.pb": saved_model()}, "parts are missing"),
        ({"saved_model.pb": saved_model(), "variables/variables.index": b""}, "parts are missing"),
        ({"saved_model.pb": saved_model(keys=()), **VARIABLES}, "has no signature"),
        ({"saved_model.pb": saved_model(datatype=14), **VARIABLES}, "type number 14"),
        ({"saved_model.pb": saved_model()[:-20], **VARIABLES}, "truncated"),
        ({"saved_model.pb": b"", **VARIABLES}, "no graph"),
        ({"saved_model.pb": b"\xff" * 50, **VARIABLES}, "longer than 64 bits"),
    ],
)
def test_what_cannot_be_served_is_told(files_of, files: dict[str, bytes], why: str) -> None:
    with pytest.raises(RejectedContent, match=why):
        analyze(files_of(files))


def test_a_keras_file_is_told_how_to_be_exported(files_of) -> None:
    with pytest.raises(RejectedContent, match=r"load_model\('m\.keras'\)\.export\('exported'\)"):
        analyze(files_of({"m.keras": b"PK\x03\x04"}))
