"""Folders of transformers and sentence-transformers."""

import json
import struct

import pytest
from onnx import TensorProto, helper

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent


def changed(embedder, path, **values):
    return embedder | {path: json.dumps(json.loads(embedder[path]) | values).encode()}


def test_a_sentence_transformers_folder_embeds_text(files_of, embedder):
    analysis = analyze(files_of(embedder))
    signature = analysis.signature
    assert (signature.inputs[0].name, signature.inputs[0].datatype, signature.inputs[0].kind) == (
        "text",
        "BYTES",
        "text",
    )
    assert (signature.outputs[0].name, signature.outputs[0].shape) == ("embedding", (8,))
    assert signature.parameters[0].default is True
    options = {name: value for name, value in analysis.options.items() if name != "signature"}
    assert options == {
        "backend": "torch", "file": "model.safetensors", "pooling": "mean", "normalize": True,
        "max_length": 256, "dimension": 8,
    }  # fmt: skip
    assert analysis.parameters == 10
    assert analysis.details["licence"] == "apache-2.0"


def test_options_survive_json(files_of, embedder):
    import msgspec

    options = analyze(files_of(embedder)).options
    assert msgspec.json.decode(msgspec.json.encode(options)) == options


def test_a_bare_encoder_takes_the_mean_and_says_so(files_of, embedder):
    analysis = analyze(files_of({path: embedder[path] for path in embedder if path != "modules.json"}))
    assert analysis.options["pooling"] == "mean"
    assert analysis.options["normalize"] is False
    assert "modules.json" in analysis.warnings[0]


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        ("BertForQuestionAnswering", "a question-answering model"),
        ("BlipForConditionalGeneration", "from text or images"),
        ("ViTForImageClassification", "an image classifier"),
    ],
)
def test_other_tasks_are_named(files_of, embedder, architecture, what):
    folder = changed(embedder, "config.json", architectures=[architecture])
    del folder["modules.json"]
    with pytest.raises(RejectedContent, match=what):
        analyze(files_of(folder))


def test_code_from_the_repository_is_refused(files_of, embedder):
    with pytest.raises(RejectedContent, match="auto_map"):
        analyze(files_of(changed(embedder, "config.json", auto_map={"AutoModel": "m.M"})))


def test_a_missing_tokenizer_is_told(files_of, embedder):
    del embedder["tokenizer.json"]
    with pytest.raises(RejectedContent, match=r"no tokenizer\.json"):
        analyze(files_of(embedder))


def test_pytorch_weights_are_to_be_converted(files_of, embedder):
    del embedder["model.safetensors"]
    embedder["pytorch_model.bin"] = b"PK\x03\x04" + bytes(26) + b"archive/data.pkl"
    with pytest.raises(RejectedContent, match=r"PyTorch checkpoint.*Convert them to safetensors"):
        analyze(files_of(embedder))


def test_truncated_weights_are_told_with_both_lengths(files_of, embedder):
    whole = embedder["model.safetensors"]
    with pytest.raises(
        RejectedContent, match=f"describes {len(whole)} bytes, and the file has {len(whole) - 5}"
    ):
        analyze(files_of(embedder | {"model.safetensors": whole[:-5]}))


@pytest.mark.parametrize(
    "offsets", [[0, 20], [4, 28], [0, -1], [0, 2**70]], ids=["short", "gap", "negative", "overflow"]
)
def test_places_that_do_not_fit_are_corrupt(files_of, embedder, offsets):
    text = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": offsets}}).encode()
    with pytest.raises(RejectedContent, match="corrupt"):
        analyze(files_of(embedder | {"model.safetensors": struct.pack("<Q", len(text)) + text + bytes(24)}))


def test_shards_are_read_together(files_of, embedder):
    shard = embedder.pop("model.safetensors")
    embedder["model-1.safetensors"] = shard
    embedder["model.safetensors.index.json"] = (
        b'{"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}'
    )
    analysis = analyze(files_of(embedder))
    assert analysis.options["file"] == "model.safetensors.index.json"
    assert analysis.parameters == 10


def test_a_missing_shard_is_named(files_of, embedder):
    del embedder["model.safetensors"]
    embedder["model.safetensors.index.json"] = b'{"weight_map": {"a": "model-2.safetensors"}}'
    with pytest.raises(RejectedContent, match=r"'model-2\.safetensors', which is missing"):
        analyze(files_of(embedder))


def encoder_graph(*inputs: str) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Cast", [inputs[0]], ["last_hidden_state"], to=1)],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"]) for name in inputs],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["b", "s", 8])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def test_onnx_is_used_when_it_is_all_there_is(files_of, embedder):
    del embedder["model.safetensors"]
    embedder["onnx/model.onnx"] = encoder_graph("input_ids", "attention_mask")
    analysis = analyze(files_of(embedder))
    assert (analysis.options["backend"], analysis.options["file"]) == ("onnx", "onnx/model.onnx")
    assert not any(line.startswith("torch") for line in analysis.requirements)


def test_a_graph_that_is_no_encoder_is_refused(files_of, embedder):
    del embedder["model.safetensors"]
    embedder["onnx/model.onnx"] = encoder_graph("pixel_values")
    with pytest.raises(RejectedContent, match="takes pixel_values"):
        analyze(files_of(embedder))


def test_an_unknown_module_is_named(files_of, embedder):
    modules = [
        *json.loads(embedder["modules.json"]),
        {"type": "sentence_transformers.models.Dense", "path": "3"},
    ]
    with pytest.raises(RejectedContent, match="Dense"):
        analyze(files_of(embedder | {"modules.json": json.dumps(modules).encode()}))


def test_widths_that_disagree_are_told(files_of, embedder):
    with pytest.raises(RejectedContent, match=r"16 in config\.json, 8 in the pooling"):
        analyze(files_of(changed(embedder, "config.json", hidden_size=16)))
