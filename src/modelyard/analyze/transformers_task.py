"""A transformers folder of a text model with a task: classification, masked words, generation."""

from collections.abc import Mapping

from modelyard.analyze.flops import per_token
from modelyard.analyze.footprint import estimate
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
from modelyard.analyze.small_json import read_object
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec
from modelyard.core.units import format_bytes

NAME = "transformers"
CHAT = ("jinja2>=3.1,<4",)  # what renders a chat template
TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "MarianMTModel": "text2text-generation",
}
# Others of that ending read images or sound.
_TEXT_TO_TEXT = frozenset(
    {
        "t5",
        "mt5",
        "umt5",
        "longt5",
        "switch_transformers",
        "bart",
        "mbart",
        "pegasus",
        "pegasus_x",
        "marian",
    }
    | {"m2m_100", "blenderbot", "blenderbot-small", "led", "bigbird_pegasus", "prophetnet", "plbart"}
)


def task_of(config: Mapping[str, object]) -> str | None:
    """What the model of ``config`` is for; None when it is not for one of :data:`TASKS`."""
    for name in architectures_of(config):
        for ending, task in TASKS.items():
            if name.endswith(ending) and (
                task != "text2text-generation" or str(config.get("model_type")) in _TEXT_TO_TEXT
            ):
                return task
    return None


def detect(files: Files) -> bool:
    """Whether config.json names a model with such a task, and modules.json none that embeds."""
    if "config.json" not in files.paths or "modules.json" in files.paths:
        return False
    try:
        return task_of(read_object(files, "config.json")) is not None
    except RejectedContent:
        return False  # told by whoever takes the folder then


def analyze(files: Files) -> Analysis:
    """Describe the folder. Raises RejectedContent."""
    config = read_config(files)
    task = task_of(config)
    if task is None:
        raise RejectedContent(
            f"config.json names {', '.join(architectures_of(config))[:200] or 'no architecture'}; the adapter "
            f"transformers serves {', '.join(sorted(set(TASKS.values())))}.",
            field="config.json",
        )
    if config.get("quantization_config"):
        raise RejectedContent(
            "The weights are quantized (quantization_config in config.json), which is not served here; deploy the "
            "model as it was before.",
            field="config.json",
        )
    check_tokenizer(files)
    weights = safetensors_of(files)
    if weights is None:
        raise no_weights(files)
    limit = longest_text(files, config)
    chat = task == "text-generation" and _has_chat_template(files)
    signature = _signature(task, config, limit, chat)
    labels = _labels(config) if task in ("text-classification", "token-classification") else []
    details = {
        "task": task,
        "type": str(config.get("model_type", ""))[:100],
        "architecture": ", ".join(architectures_of(config))[:200],
        "precision": weights.precision,
        "weights": format_bytes(weights.size),
        "tokens at most": str(limit),
        "labels": ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else ""),
        "licence": licence_of(files),
    }
    return Analysis(
        format="transformers",
        adapter=NAME,
        signature=signature,
        requirements=(*TORCH, *CHAT) if chat else TORCH,
        options={"task": task, "max_length": limit, "signature": plain(signature)},
        parameters=weights.parameters,
        size_bytes=weights.size + files.size("tokenizer.json"),
        precision=weights.precision,
        precisions=weights.held.numbers_by_type,
        context_length=limit,
        runtime=saved_by(config),
        flops=per_token(weights.held, writes=task in ("text-generation", "fill-mask")),
        memory_bytes=estimate("torch", weights.size),
        details={label: value[:1000] for label, value in details.items() if value},
    )


def _labels(config: Mapping[str, object]) -> list[str]:
    """The names of the classes; transformers' own default where config.json has none."""
    named = config.get("id2label")
    if isinstance(named, dict) and named:
        return [str(named[number]) for number in sorted(named, key=lambda each: int(str(each)))]
    return ["LABEL_0", "LABEL_1"]


def _has_chat_template(files: Files) -> bool:
    if "chat_template.jinja" in files.paths:
        return True
    path = "tokenizer_config.json"
    return path in files.paths and bool(
        read_object(files, path, limit=64 * 1024 * 1024).get("chat_template")
    )


def _signature(task: str, config: Mapping[str, object], limit: int, chat: bool) -> Signature:
    if task.endswith("generation"):
        return generation(limit, chat)
    text = TensorSpec(name="text", datatype="BYTES", kind="text")
    truncate = ParameterSpec(
        name="truncate", type="bool", default=False,
        description="Cut a text that is longer than the model reads; false refuses it.",
    )  # fmt: skip
    if task == "text-classification":
        labels = _labels(config)
        outputs = (
            TensorSpec(name="label", datatype="BYTES", kind="label"),
            TensorSpec(name="score", datatype="FP32"),
            TensorSpec(
                name="scores", datatype="FP32", shape=(len(labels),), description=", ".join(labels)[:500]
            ),
        )
        return Signature(inputs=(text,), outputs=outputs, parameters=(truncate,))
    if task == "token-classification":
        aggregation = ParameterSpec(
            name="aggregation", type="string", default="simple",
            description="How tokens become entities: none, simple, first, average, max.",
        )  # fmt: skip
        entities = TensorSpec(name="entities", datatype="BYTES", kind="json")
        return Signature(inputs=(text,), outputs=(entities,), parameters=(truncate, aggregation))
    top = ParameterSpec(name="top_k", type="int", default=5, description="How many words for each mask.")
    filled = TensorSpec(name="predictions", datatype="BYTES", kind="json")
    return Signature(inputs=(text,), outputs=(filled,), parameters=(truncate, top))


def generation(limit: int, chat: bool) -> Signature:
    """Of a model that writes text, of ``limit`` tokens at most; ``chat``: it has a template for turns."""
    return Signature(
        inputs=(TensorSpec(name="prompt", datatype="BYTES", kind="text"),),
        outputs=(
            TensorSpec(name="text", datatype="BYTES", kind="text"),
            TensorSpec(name="tokens", datatype="INT64", optional=True, description="How many were written."),
            TensorSpec(
                name="finish_reason", datatype="BYTES", kind="label", optional=True,
                description="stop: the model ended the text; length: max_new_tokens did.",
            ),
        ),
        parameters=_writing(limit, chat),
    )  # fmt: skip


def _writing(limit: int, chat: bool) -> tuple[ParameterSpec, ...]:
    """The parameters of generation. By default it is greedy: the same prompt gives the same text."""
    found = [
        ParameterSpec(name="max_new_tokens", type="int", default=min(128, max(1, limit // 2)),
                      description="Most tokens that are written."),
        ParameterSpec(name="temperature", type="float", default=0.0,
                      description="0: the most likely token each time; above, tokens are drawn."),
        ParameterSpec(name="top_k", type="int", default=50, description="Drawn from so many tokens (0: all)."),
        ParameterSpec(name="top_p", type="float", default=1.0,
                      description="Drawn from the likeliest tokens of so much probability."),
        ParameterSpec(name="repetition_penalty", type="float", default=1.0,
                      description="Above 1 what was there already is less likely."),
        ParameterSpec(name="seed", type="int", default=-1, description="0 or more: the same draw each time."),
    ]  # fmt: skip
    if chat:
        found += [
            ParameterSpec(name="chat", type="bool", default=True,
                          description="Put the prompt into the model's chat template; false: as it is."),
            ParameterSpec(name="system", type="string", default="", description="The system's turn of the chat."),
        ]  # fmt: skip
    return tuple(found)
