"""GGUF files are told by their header, whatever is in it."""

import struct
from typing import Any

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent
from support.gguf import gguf

VALUES = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "general.file_type": 3,
    "general.license": "apache-2.0",
    "llama.context_length": 2048,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.ggml.scores": [0.5, 0.25],
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.chat_template": "{{ messages }}",
}
TENSORS = {"token_embd.weight": (64, 100), "output_norm.weight": (64,)}


def test_a_model_is_described(files_of) -> None:
    data = gguf(VALUES, TENSORS)
    found = analyze(files_of({"tiny.gguf": data}))
    assert (found.format, found.adapter, found.executes) == ("GGUF", "gguf", "no")
    assert found.parameters == 6464
    assert found.details["precision"] == "Q4_1"
    assert found.details["architecture"] == "llama"
    assert found.details["licence"] == "apache-2.0"
    assert found.options["file"] == "tiny.gguf"
    assert found.options["context"] == 2048
    assert found.signature is not None
    assert {"chat", "system", "max_new_tokens"} <= {each.name for each in found.signature.parameters}
    assert found.memory_bytes is not None
    # A key and a value of 2 heads of 16 numbers of 2 bytes, in 2 layers, for 2,048 tokens.
    assert found.memory_bytes.high >= len(data) + 2048 * 2 * 2 * 16 * 2 * 2


def test_without_a_chat_template_prompts_go_as_they_are(files_of) -> None:
    values = {key: value for key, value in VALUES.items() if key != "tokenizer.chat_template"}
    found = analyze(files_of({"tiny.gguf": gguf(values, TENSORS)}))
    assert found.signature is not None
    assert "chat" not in {each.name for each in found.signature.parameters}


def test_a_model_in_several_files_is_one(files_of) -> None:
    files = {f"big-0000{n}-of-00002.gguf": gguf(VALUES, TENSORS) for n in (1, 2)}
    found = analyze(files_of(files))
    assert (found.options["file"], found.parameters) == ("big-00001-of-00002.gguf", 2 * 6464)
    with pytest.raises(RejectedContent, match=r"several GGUF files: a\.gguf, b\.gguf"):
        analyze(files_of({"a.gguf": gguf(VALUES, TENSORS), "b.gguf": gguf(VALUES, TENSORS)}))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "a PNG image"),
        (b"", "an empty file"),
        (b"GGUF", "GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version is 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "would have"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**40), "would have"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 77), "type 77"),
        (gguf(VALUES, TENSORS)[:200], "truncated"),
        (gguf(VALUES, {"x": (2**40, 2**40)}), "numbers"),
    ],
)  # fmt: skip
def test_what_is_none_is_told(files_of, data: bytes, why: str) -> None:
    with pytest.raises(RejectedContent, match=why) as caught:
        analyze(files_of({"a.gguf": data}))
    assert caught.value.field == "a.gguf"


def test_a_list_of_nothing_known_is_told(files_of) -> None:
    nested: Any = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a"
    nested += struct.pack("<IIQ", 9, 9, 1)
    with pytest.raises(RejectedContent, match="list in its header is of the type 9"):
        analyze(files_of({"a.gguf": nested + bytes(64)}))
