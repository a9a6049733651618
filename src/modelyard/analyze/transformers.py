"""A transformers or sentence-transformers folder that turns text into embeddings."""

from collections.abc import Mapping
from typing import NamedTuple

from modelyard.analyze import onnx
from modelyard.analyze.flops import flops_of, per_token
from modelyard.analyze.footprint import estimate
from modelyard.analyze.onnx_graph import Graph
from modelyard.analyze.plain import plain
from modelyard.analyze.pretrained import (
    TORCH,
    architectures_of,
    check_tokenizer,
    licence_of,
    longest_text,
    no_weights,
    read_config,
    safetensors_of,
    saved_by,
)
from modelyard.analyze.sentence import Sentence, read_sentence
from modelyard.analyze.small_json import number
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis, Flops
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec
from modelyard.core.units import format_bytes

NAME = "sentence_embedding"
ONNX = ("onnxruntime>=1.20,<2", "numpy>=1.26,<3", "tokenizers>=0.20,<1")
SERVED = "From such folders, Modelyard serves models that embed text (encoders such as BERT or MPNet) today"
# Encoders whose bare model gives one vector per token, of which the mean is a sensible embedding.
ENCODERS = frozenset(
    {"bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "albert", "electra", "deberta", "deberta-v2"}
    | {
        "camembert",
        "modernbert",
        "longformer",
        "big_bird",
        "ernie",
        "convbert",
        "squeezebert",
        "mobilebert",
    }
    | {
        "nomic_bert",
        "bert-generation",
        "roformer",
        "nystromformer",
        "funnel",
        "xlm",
        "flaubert",
        "ibert",
        "esm",
    }
)
_TASKS = {
    "ForSequenceClassification": "a text classifier",
    "ForTokenClassification": "a token classifier",
    "ForQuestionAnswering": "a question-answering model",
    "ForMultipleChoice": "a multiple-choice model",
    "ForMaskedLM": "a masked language model",
    "ForPreTraining": "a model in pre-training",
    "ForCausalLM": "a language model that generates text",
    "LMHeadModel": "a language model that generates text",
    "ForConditionalGeneration": "a model that generates text from text or images",
    "ForImageClassification": "an image classifier",
    "ForObjectDetection": "an object detector",
    "ForSpeechSeq2Seq": "a speech recogniser",
    "ForCTC": "a speech recogniser",
    "ForAudioClassification": "an audio classifier",
}


class _Backend(NamedTuple):
    """The weights that were chosen: how they are run, where they lie, how large they are."""

    name: str
    file: str
    parameters: int
    size: int
    weights: int
    precision: str
    dimension: int | None
    options: dict[str, object] = {}
    precisions: dict[str, int] = {}
    flops: Flops | None = None
    runtime: dict[str, str] = {}


def detect(files: Files) -> bool:
    """Whether the top folder has ``modules.json``, or a ``config.json`` of a model.

    A ``config.json`` beside an ONNX file may be anybody's: there it must name a type or architecture.
    """
    paths = set(files.paths)
    if "modules.json" in paths:
        return True
    if "config.json" not in paths:
        return False
    if paths & {
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
        "model.safetensors.index.json",
    }:
        return True
    head = files.read("config.json", 0, 64 * 1024)
    return b'"model_type"' in head or b'"architectures"' in head


def analyze(files: Files) -> Analysis:
    """Describe the folder. Raises RejectedContent."""
    config = read_config(files)
    sentence = read_sentence(files)
    model_type = str(config.get("model_type", ""))
    architectures = architectures_of(config)
    if sentence is None:
        _check_task(model_type, architectures)
    check_tokenizer(files)
    backend = _backend(files)
    dimension = _dimension(config, sentence, backend)
    pooling = sentence.pooling if sentence else "mean"
    normalize = sentence.normalize if sentence else False
    max_length = longest_text(files, config, sentence.max_length if sentence else None)
    signature = Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", shape=(), kind="text"),),
        outputs=(TensorSpec(name="embedding", datatype="FP32", shape=(dimension,), kind="embedding"),),
        parameters=(
            ParameterSpec(
                name="normalize",
                type="bool",
                default=normalize,
                description="Scale the embedding to length 1.",
            ),
            ParameterSpec(
                name="truncate",
                type="bool",
                default=True,
                description="Cut a text that is longer than the model reads; false refuses it.",
            ),
        ),
        batched=True,
    )
    warnings = () if sentence else ("There is no modules.json: the mean of the token vectors is taken.",)
    return Analysis(
        format="sentence-transformers" if sentence else "transformers",
        adapter="sentence_embedding",
        signature=signature,
        requirements=TORCH if backend.name == "torch" else ONNX,
        options={
            "backend": backend.name,
            "file": backend.file,
            "pooling": pooling,
            "normalize": normalize,
            "max_length": max_length,
            "dimension": dimension,
            "signature": plain(signature),
            **backend.options,
        },
        parameters=backend.parameters,
        precision=backend.precision,
        precisions=backend.precisions,
        context_length=max_length,
        runtime={**saved_by(config), **backend.runtime},
        flops=backend.flops,
        size_bytes=backend.size + files.size("tokenizer.json"),
        memory_bytes=estimate("torch" if backend.name == "torch" else "onnx", backend.weights),
        details=_details(files, model_type, architectures, backend, max_length, pooling),
        warnings=warnings,
    )


def _check_task(model_type: str, architectures: list[str]) -> None:
    """Without modules.json only the bare encoders are certain to embed. Raises RejectedContent."""
    for name in architectures:
        for ending, what in _TASKS.items():
            if name.endswith(ending):
                raise RejectedContent(
                    f"config.json says that this is {name[:100]}, {what}. {SERVED}; others can be exported to ONNX, "
                    "or served as a Python function (model.py).",
                    field="config.json",
                )
    if model_type not in ENCODERS:
        raise RejectedContent(
            f"config.json says that this is a model of the type {model_type[:100]!r}. {SERVED}; others can be "
            "exported to ONNX, or served as a Python function (model.py).",
            field="config.json",
        )


def _backend(files: Files) -> _Backend:
    """safetensors through PyTorch; ONNX when that is all there is."""
    paths = set(files.paths)
    found = safetensors_of(files)
    if found is not None:
        return _Backend(
            "torch",
            found.file,
            found.parameters,
            found.size,
            found.size,
            found.precision,
            None,
            precisions=found.held.numbers_by_type,
            flops=per_token(found.held, writes=False),
        )
    graphs = sorted(path for path in paths if path.endswith(".onnx") and path.count("/") <= 1)
    preferred = [path for path in ("onnx/model.onnx", "model.onnx") if path in paths] or graphs
    if len(preferred) == 1 or (preferred and preferred[0] in ("onnx/model.onnx", "model.onnx")):
        return _onnx_backend(files, preferred[0])
    if preferred:
        raise RejectedContent(
            f"There are several ONNX files: {', '.join(preferred[:8])}. Keep the one to serve, or name it "
            "onnx/model.onnx.",
            field=preferred[0],
        )
    raise no_weights(files)


def _onnx_backend(files: Files, path: str) -> _Backend:
    graph = onnx.load_graph(files, path)
    onnx.check_external(files, path, graph)
    names = {value.name for value in graph.inputs} - graph.initializers
    unknown = names - {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
    if "input_ids" not in names or unknown:
        raise RejectedContent(
            f"{path} takes {', '.join(sorted(names))[:300]}; a text encoder takes input_ids, attention_mask and "
            "perhaps token_type_ids. Export it with the task feature-extraction.",
            field=path,
        )
    size = files.size(path) + sum(files.size(item) for item in onnx.external_files(path, graph))
    return _Backend(
        "onnx",
        path,
        graph.parameters,
        size,
        onnx.weight_bytes(graph),
        onnx.precision(graph),
        _last_axis(graph, path),
        onnx.tolerance_of(graph),
        dict(graph.numbers),
        flops_of(graph),
        onnx.runtime_of(graph),
    )


def _last_axis(graph: Graph, path: str) -> int | None:
    """The width of the token vectors that the graph gives, when its shape tells."""
    for value in graph.outputs:
        if value.name in ("last_hidden_state", "token_embeddings") or (
            value.shape and len(value.shape) == 3
        ):
            last = value.shape[-1] if value.shape else None
            return last if isinstance(last, int) else None
    raise RejectedContent(
        f"{path} gives {', '.join(value.name for value in graph.outputs)[:300]}, and no vectors per token "
        "(last_hidden_state). Export it with the task feature-extraction.",
        field=path,
    )


def _dimension(config: Mapping[str, object], sentence: Sentence | None, backend: _Backend) -> int:
    declared = {
        "config.json": number(config, "hidden_size") or number(config, "dim") or number(config, "d_model"),
        "the pooling's config.json": sentence.dimension if sentence else None,
        backend.file: backend.dimension,
    }
    known = {place: value for place, value in declared.items() if value is not None}
    if not known:
        raise RejectedContent("config.json does not say the model's hidden_size.", field="config.json")
    if len(set(known.values())) > 1:
        told = ", ".join(f"{value} in {place}" for place, value in known.items())
        raise RejectedContent(
            f"The width of the embedding is told in different ways: {told}.", field="config.json"
        )
    return next(iter(known.values()))


def _details(
    files: Files,
    model_type: str,
    architectures: list[str],
    backend: _Backend,
    max_length: int,
    pooling: str,
) -> dict[str, str]:
    details = {
        "type": model_type[:100],
        "architecture": ", ".join(architectures)[:200],
        "backend": backend.name,
        "precision": backend.precision,
        "weights": format_bytes(backend.weights),
        "tokens at most": str(max_length),
        "pooling": pooling,
        "licence": licence_of(files),
    }
    return {label: value for label, value in details.items() if value}
