"""An ESM-2 protein language model: a transformers folder whose config.json says esm, with rotary positions."""

import re
from collections.abc import Mapping

from modelyard.analyze.flops import per_token
from modelyard.analyze.footprint import estimate
from modelyard.analyze.plain import plain
from modelyard.analyze.pretrained import saved_by
from modelyard.analyze.safetensors import Weights, read_sharded, read_weights
from modelyard.analyze.small_json import number, read_object
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.signature import Kind, ParameterSpec, Signature, TensorSpec
from modelyard.core.units import format_bytes

NAME = "esm2"
REQUIREMENTS = ("torch>=2.6,<3", "safetensors>=0.4.3,<1", "numpy>=1.26,<3")
_TYPE = re.compile(rb'"model_type"\s*:\s*"esm"')
_ROTARY = re.compile(rb'"position_embedding_type"\s*:\s*"rotary"')
_SERVED = ("EsmModel", "EsmForMaskedLM")
_AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def detect(files: Files) -> bool:
    """Whether the top folder is an ESM-2's; one inside a sentence-transformers folder, or exported to ONNX
    alone, is none of these."""
    paths = set(files.paths)
    if "config.json" not in paths or "modules.json" in paths:
        return False
    if not _safetensors(files) and any(path.endswith(".onnx") for path in paths):
        return False
    head = files.read("config.json", 0, 64 * 1024)
    return bool(_TYPE.search(head) and _ROTARY.search(head))


def analyze(files: Files) -> Analysis:
    """Describe the folder. Raises RejectedContent."""
    config = read_object(files, "config.json")
    listed = config.get("architectures")
    architectures = [str(name)[:100] for name in listed] if isinstance(listed, list) else []
    others = [name for name in architectures if name not in _SERVED]
    if others or config.get("is_folding_model"):
        raise RejectedContent(
            f"config.json says that this is {others[0] if others else 'a folding model'}. Of the ESM family, "
            "Modelyard serves EsmModel and EsmForMaskedLM (ESM-2) today; serve others as a Python function "
            "(model.py).",
            field="config.json",
        )
    width, layers, heads = (
        _needed(config, name) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    for name in ("intermediate_size", "vocab_size"):
        _needed(config, name)
    weights = _weights(files)
    prefix = "esm." if "esm.embeddings.word_embeddings.weight" in weights.tensors else ""
    if prefix + "embeddings.word_embeddings.weight" not in weights.tensors:
        raise RejectedContent(
            "The weights have no embeddings.word_embeddings.weight, which every ESM-2 has. Save the model again.",
            field="model.safetensors",
        )
    signature = make_signature(
        width,
        language_head="lm_head.dense.weight" in weights.tensors,
        contact_head=f"{prefix}contact_head.regression.weight" in weights.tensors,
    )
    # Two places of the table are kept (as in RoBERTa), and two tokens are those for begin and end.
    limit = max(1, (number(config, "max_position_embeddings") or 1026) - 4)
    return Analysis(
        format="transformers",
        adapter=NAME,
        signature=signature,
        requirements=REQUIREMENTS,
        options={"max_length": limit, "signature": plain(signature)},
        example={"sequence": "MKTVRQERLKSIVRILERSKEPVSGAQL"},
        parameters=weights.parameters,
        size_bytes=weights.size,
        precision=weights.precision,
        precisions=weights.numbers_by_type,
        context_length=limit,
        runtime=saved_by(config),
        flops=per_token(weights, writes="lm_head.dense.weight" in weights.tensors, unit="residue"),
        memory_bytes=estimate("torch", weights.size),
        details={
            "type": "ESM-2",
            "architecture": ", ".join(architectures),
            "layers": f"{layers} of width {width}, {heads} heads",
            "precision": weights.precision,
            "weights": format_bytes(weights.size),
            "residues at most": str(limit),
        },
    )


def make_signature(width: int, *, language_head: bool, contact_head: bool) -> Signature:
    """As the adapter's own (``modelyard_executor/adapters/esm2.py``), which a test holds against this."""
    outputs = [
        _output("length", "INT64", (), "Residues of the sequence."),
        _output("embedding", "FP32", (width,), "The mean over the residues.", "embedding"),
        _output("per_residue", "FP32", (-1, width), "One vector per residue."),
    ]
    parameters = [
        _flag("include_embeddings", "Answer the embedding of each sequence.", default=True),
        _flag("include_per_residue", "Answer a vector per residue."),
        ParameterSpec(
            name="layer",
            type="int",
            default=-1,
            description="The layer that embeddings are taken from; 0 is the input, -1 the last.",
        ),
    ]
    if language_head:
        outputs += [
            _output("mask_positions", "INT64", (-1,), "Where the sequence has <mask>, from 0."),
            _output(
                "mask_probabilities",
                "FP32",
                (-1, len(_AMINO_ACIDS)),
                f"Probabilities there of {_AMINO_ACIDS}, of all tokens' together.",
            ),
            _output(
                "log_likelihood", "FP64", (), "Sum over the residues of log p(residue given all others)."
            ),
        ]
        parameters.append(
            _flag(
                "include_log_likelihood",
                "Answer the pseudo-log-likelihood; costs one computation per residue.",
            )
        )
    if contact_head:
        outputs.append(_output("contacts", "FP32", (-1, -1), "Probability that two residues touch."))
        parameters.append(_flag("include_contacts", "Answer the map of contacts."))
    return Signature(
        inputs=(
            _output(
                "sequence", "BYTES", (), "A protein, in one-letter amino acids; <mask> hides one.", "text"
            ),
        ),
        outputs=tuple(outputs),
        parameters=tuple(parameters),
        batched=True,
    )


def _output(
    name: str, datatype: str, shape: tuple[int, ...], description: str, kind: Kind = "tensor"
) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape, kind=kind, description=description)


def _flag(name: str, description: str, *, default: bool = False) -> ParameterSpec:
    return ParameterSpec(name=name, type="bool", default=default, description=description)


def _needed(config: Mapping[str, object], name: str) -> int:
    value = number(config, name)
    if value is None or value < 1:
        raise RejectedContent(f"config.json does not say the model's {name}.", field="config.json")
    return value


def _safetensors(files: Files) -> str | None:
    for name in ("model.safetensors", "model.safetensors.index.json"):
        if name in files.paths:
            return name
    return None


def _weights(files: Files) -> Weights:
    file = _safetensors(files)
    if file is None:
        raise RejectedContent(
            "The folder has a config.json but no model.safetensors. Weights of another form can run code when "
            "loaded; convert them: AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(folder).",
            field="model.safetensors",
        )
    return read_weights(files, file) if file == "model.safetensors" else read_sharded(files, file)
