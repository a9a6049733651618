"""Weights of many gigabytes that take no room on the disk: real headers, and holes for the numbers."""

import json
import struct
from pathlib import Path

LAYERS, WIDTH, WORDS = 32, 4096, 128_256


def shapes(layers: int = LAYERS) -> dict[str, list[int]]:
    """A language model of the form of Llama 3 8B."""
    found = {
        "model.embed_tokens.weight": [WORDS, WIDTH],
        "lm_head.weight": [WORDS, WIDTH],
        "model.norm.weight": [WIDTH],
    }
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name, shape in (
            ("self_attn.q_proj", [WIDTH, WIDTH]),
            ("self_attn.k_proj", [WIDTH // 4, WIDTH]),
            ("self_attn.v_proj", [WIDTH // 4, WIDTH]),
            ("self_attn.o_proj", [WIDTH, WIDTH]),
            ("mlp.gate_proj", [14336, WIDTH]),
            ("mlp.up_proj", [14336, WIDTH]),
            ("mlp.down_proj", [WIDTH, 14336]),
            ("input_layernorm", [WIDTH]),
            ("post_attention_layernorm", [WIDTH]),
        ):
            found[f"{at}{name}.weight"] = shape
    return found


def count(shape: list[int]) -> int:
    numbers = 1
    for length in shape:
        numbers *= length
    return numbers


def safetensors_folder(folder: Path, size: int) -> Path:
    """A transformers folder whose model.safetensors has ``size`` bytes or a little more (bfloat16)."""
    folder.mkdir(parents=True)
    layers = LAYERS
    while 2 * sum(map(count, shapes(layers).values())) < size:
        layers += 1
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, shape in shapes(layers).items():
        end = position + 2 * count(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + position)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "vocab_size": WORDS,
        "max_position_embeddings": 8192, "tie_word_embeddings": False, "transformers_version": "4.40.0",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    return folder


def gguf_file(path: Path, size: int) -> Path:
    """A GGUF file of ``size`` bytes (Q4_K), with as many words and merges in its header as Llama 3 has."""
    words = b"".join(struct.pack("<Q", 7) + b"w%06d" % number for number in range(WORDS))
    merges = b"".join(struct.pack("<Q", 9) + b"aaa %05d" % (number % 100_000) for number in range(280_147))
    values = [
        _text("general.architecture") + struct.pack("<I", 8) + _text("llama"),
        _text("general.file_type") + struct.pack("<II", 4, 15),
        _text("general.license") + struct.pack("<I", 8) + _text("llama3"),
        _text("llama.context_length") + struct.pack("<II", 4, 8192),
        _text("llama.block_count") + struct.pack("<II", 4, LAYERS),
        _text("llama.embedding_length") + struct.pack("<II", 4, WIDTH),
        _text("llama.attention.head_count") + struct.pack("<II", 4, 32),
        _text("llama.attention.head_count_kv") + struct.pack("<II", 4, 8),
        _text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, WORDS) + words,
        _text("tokenizer.ggml.token_type") + struct.pack("<IIQ", 9, 5, WORDS) + bytes(4 * WORDS),
        _text("tokenizer.ggml.merges") + struct.pack("<IIQ", 9, 8, 280_147) + merges,
    ]
    tensors = [
        _text("token_embd.weight") + _tensor([WIDTH, WORDS]),
        _text("output.weight") + _tensor([WIDTH, WORDS]),
    ]
    for layer in range(LAYERS):
        for name, shape in (
            ("attn_q", [WIDTH, WIDTH]),
            ("attn_k", [WIDTH, WIDTH // 4]),
            ("attn_v", [WIDTH, WIDTH // 4]),
            ("attn_output", [WIDTH, WIDTH]),
            ("ffn_gate", [WIDTH, 14336]),
            ("ffn_up", [WIDTH, 14336]),
            ("ffn_down", [14336, WIDTH]),
            ("attn_norm", [WIDTH]),
            ("ffn_norm", [WIDTH]),
        ):
            tensors.append(_text(f"blk.{layer}.{name}.weight") + _tensor(shape))
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(values + tensors))
        file.truncate(size)
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _tensor(shape: list[int]) -> bytes:
    kind = 12 if len(shape) > 1 else 0
    return struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0)
