"""Folders of transformers models that have a task."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from modelyard.analyze import analyze
from modelyard.analyze.pretrained import TORCH
from modelyard.core.errors import RejectedContent


@pytest.fixture
def folder(files_of: Callable[..., Any], embedder: dict[str, bytes]) -> Callable[..., Any]:
    """The embedder's folder as a model of ``architecture``."""

    def make(architecture: str, *, without: str = "modules.json", **config: object) -> Any:
        told = json.loads(embedder["config.json"]) | {"architectures": [architecture]} | config
        files = embedder | {"config.json": json.dumps(told).encode()}
        return files_of(
            {path: data for path, data in files.items() if path not in ("modules.json", without)}
        )

    return make


@pytest.mark.parametrize(
    ("architecture", "config", "task"),
    [
        ("BertForSequenceClassification", {}, "text-classification"),
        ("DebertaV2ForTokenClassification", {}, "token-classification"),
        ("RobertaForMaskedLM", {}, "fill-mask"),
        ("LlamaForCausalLM", {"model_type": "llama"}, "text-generation"),
        ("GPT2LMHeadModel", {"model_type": "gpt2"}, "text-generation"),
        ("T5ForConditionalGeneration", {"model_type": "t5"}, "text2text-generation"),
        ("MarianMTModel", {"model_type": "marian"}, "text2text-generation"),
    ],
)
def test_the_task_is_that_of_the_architecture(folder, architecture: str, config: dict, task: str) -> None:
    analysis = analyze(folder(architecture, **config))
    assert (analysis.adapter, analysis.options["task"]) == ("transformers", task)
    assert analysis.requirements == TORCH
    assert msgspec.json.decode(msgspec.json.encode(analysis.options)) == analysis.options


def test_classes_are_named_and_counted(folder) -> None:
    analysis = analyze(
        folder("BertForSequenceClassification", id2label={"1": "good", "0": "bad", "10": "odd"})
    )
    assert [spec.shape for spec in analysis.signature.outputs] == [(), (), (3,)]
    assert analysis.details["labels"] == "bad, good, odd"
    assert analysis.options["max_length"] == 512
    unnamed = analyze(folder("BertForSequenceClassification"))
    assert unnamed.details["labels"] == "LABEL_0, LABEL_1"


def test_what_is_written_is_bounded_by_what_the_model_reads(folder) -> None:
    parameters = {
        each.name: each.default
        for each in analyze(
            folder("GPT2LMHeadModel", model_type="gpt2", max_position_embeddings=None, n_positions=64)
        ).signature.parameters
    }
    assert parameters["max_new_tokens"] == 32
    assert parameters["temperature"] == 0.0
    assert "chat" not in parameters


def test_a_chat_template_makes_parameters_and_needs_its_renderer(files_of, embedder) -> None:
    config = json.loads(embedder["config.json"]) | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
    }
    del embedder["modules.json"]
    for more in (
        {"tokenizer_config.json": b'{"chat_template": "{{ messages }}"}'},
        {"chat_template.jinja": b"{{ messages }}"},
    ):
        analysis = analyze(files_of(embedder | more | {"config.json": json.dumps(config).encode()}))
        assert {"chat", "system"} <= {each.name for each in analysis.signature.parameters}
        assert any(line.startswith("jinja2") for line in analysis.requirements)


@pytest.mark.parametrize(
    ("config", "without", "said"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "", "quantized"),
        ({"auto_map": {"AutoModel": "m.M"}}, "", "auto_map"),
        ({}, "tokenizer.json", "no tokenizer.json"),
        ({}, "model.safetensors", "no weights"),
    ],
)
def test_what_cannot_be_served_is_told(folder, config: dict, without: str, said: str) -> None:
    with pytest.raises(RejectedContent, match=said):
        analyze(folder("LlamaForCausalLM", without=without, model_type="llama", **config))


def test_modules_that_embed_come_before_the_task(files_of, embedder) -> None:
    config = json.loads(embedder["config.json"]) | {"architectures": ["BertForMaskedLM"]}
    analysis = analyze(files_of(embedder | {"config.json": json.dumps(config).encode()}))
    assert analysis.adapter == "sentence_embedding"
