"""A transformers folder of a model that sees or hears: classes, embeddings and objects of images; words and
classes of recordings. Served by the adapters ``image`` and ``audio``."""

from collections.abc import Mapping

from modelyard.analyze.footprint import estimate
from modelyard.analyze.plain import plain
from modelyard.analyze.pretrained import (
    TORCH,
    architectures_of,
    licence_of,
    no_weights,
    read_config,
    safetensors_of,
    saved_by,
)
from modelyard.analyze.small_json import number, read_object
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec
from modelyard.core.units import format_bytes

PICTURES = ("pillow>=10,<13",)
SOUNDS = ("soundfile>=0.12,<1", "soxr>=0.3,<2")
# Bare encoders whose vectors mean something without further training.
_EMBEDDERS = frozenset(
    {"dinov2", "dinov2_with_registers", "dinov3_vit", "vit", "deit", "beit", "swin", "swinv2", "convnext", "convnextv2", "resnet"}
)  # fmt: skip
# Where "ForSequenceClassification" means a recording.
_HEARING = frozenset(
    {
        "wav2vec2", "wav2vec2-bert", "wav2vec2-conformer", "hubert", "wavlm", "unispeech", "unispeech-sat", "sew", "sew-d",
        "data2vec-audio",
    }
)  # fmt: skip
_PREPROCESSORS = (
    "preprocessor_config.json",
    "processor_config.json",
)  # the second where words come with it


class Perception:
    """One of the two, as a format: ``tasks`` by the ending of the class that config.json names."""

    def __init__(self, name: str, tasks: Mapping[str, str], requirements: tuple[str, ...]) -> None:
        self.NAME = name
        self._tasks = tasks
        self._requirements = (*TORCH, *requirements)

    def task_of(self, config: Mapping[str, object]) -> str | None:
        """What the model of ``config`` is for; None when it is for nothing of these."""
        for name in architectures_of(config):
            for ending, task in self._tasks.items():
                if name.endswith(ending):
                    return task
            if self.NAME == "audio" and name.endswith("ForSequenceClassification"):
                return "audio-classification" if config.get("model_type") in _HEARING else None
            if self.NAME == "image" and name.endswith("Model") and config.get("model_type") in _EMBEDDERS:
                return "image-embedding"
        return None

    def detect(self, files: Files) -> bool:
        """Whether config.json names a model with such a task, beside what prepares its input."""
        if "config.json" not in files.paths or not set(_PREPROCESSORS) & set(files.paths):
            return False
        try:
            return self.task_of(read_object(files, "config.json")) is not None
        except RejectedContent:
            return False  # told by whoever takes the folder then

    def analyze(self, files: Files) -> Analysis:
        """Describe the folder. Raises RejectedContent."""
        config = read_config(files)
        task = self.task_of(config)
        if task is None:
            raise RejectedContent(
                f"config.json names {', '.join(architectures_of(config))[:200] or 'no architecture'}; the adapter "
                f"{self.NAME} serves {', '.join(sorted(set(self._tasks.values())))}.",
                field="config.json",
            )
        for path in _PREPROCESSORS:
            if path in files.paths:
                read_object(files, path)
        weights = safetensors_of(files)
        if weights is None:
            raise no_weights(files)
        signature = _SIGNATURES[task](config)
        details = {
            "task": task,
            "type": str(config.get("model_type", ""))[:100],
            "architecture": ", ".join(architectures_of(config))[:200],
            "precision": weights.precision,
            "weights": format_bytes(weights.size),
            "licence": licence_of(files),
        }
        return Analysis(
            format="transformers",
            adapter=self.NAME,
            signature=signature,
            requirements=self._requirements,
            options={"task": task, "signature": plain(signature)},
            parameters=weights.parameters,
            size_bytes=weights.size,
            precision=weights.precision,
            precisions=weights.held.numbers_by_type,
            runtime=saved_by(config),
            memory_bytes=estimate("torch", weights.size),
            details={label: value for label, value in details.items() if value},
        )


image = Perception(
    "image",
    {"ForImageClassification": "image-classification", "ForObjectDetection": "object-detection"},
    PICTURES,
)
audio = Perception(
    "audio",
    {
        "WhisperForConditionalGeneration": "speech-recognition",
        "MoonshineForConditionalGeneration": "speech-recognition",
        "ForCTC": "speech-recognition",
        "ForAudioClassification": "audio-classification",
        "ASTForAudioClassification": "audio-classification",
    },
    SOUNDS,
)

_IMAGE = TensorSpec(
    name="image",
    datatype="BYTES",
    kind="bytes",
    description="An image file: PNG, JPEG, WebP, TIFF, BMP, GIF.",
)
_AUDIO = TensorSpec(
    name="audio", datatype="BYTES", kind="bytes",
    description="A recording: WAV, FLAC, OGG or MP3; several channels are averaged.",
)  # fmt: skip


def _classes(given: TensorSpec) -> Signature:
    return Signature(
        inputs=(given,),
        outputs=(
            TensorSpec(name="label", datatype="BYTES", kind="label"),
            TensorSpec(name="score", datatype="FP32"),
            TensorSpec(
                name="labels", datatype="BYTES", kind="json",
                description="The likeliest classes with their probabilities.",
            ),
        ),
        parameters=(ParameterSpec(name="top_k", type="int", default=5, description="How many of them."),),
    )  # fmt: skip


def _embedding(config: Mapping[str, object]) -> Signature:
    sizes = config.get("hidden_sizes")
    width = number(config, "hidden_size")
    if width is None and isinstance(sizes, list) and sizes and isinstance(sizes[-1], int):
        width = sizes[-1]
    if width is None:
        raise RejectedContent("config.json does not say the model's hidden_size.", field="config.json")
    return Signature(
        inputs=(_IMAGE,),
        outputs=(
            TensorSpec(
                name="embedding", datatype="FP32", shape=(width,), kind="embedding",
                description="Of the class token, or the mean where there is none.",
            ),
        ),
        parameters=(
            ParameterSpec(
                name="normalize", type="bool", default=False, description="Scale the embedding to length 1."
            ),
        ),
    )  # fmt: skip


def _objects(_: Mapping[str, object]) -> Signature:
    return Signature(
        inputs=(_IMAGE,),
        outputs=(
            TensorSpec(
                name="objects", datatype="BYTES", kind="json",
                description="label, score, and box (xmin, ymin, xmax, ymax in pixels of the image), surest first.",
            ),
        ),
        parameters=(
            ParameterSpec(name="threshold", type="float", default=0.5, description="Less sure ones are left out."),
        ),
    )  # fmt: skip


def _speech(config: Mapping[str, object]) -> Signature:
    parameters: tuple[ParameterSpec, ...] = ()
    if config.get("model_type") == "whisper":
        parameters = (
            ParameterSpec(name="language", type="string", default="",
                          description="Such as en or german; empty: heard from the beginning."),
            ParameterSpec(name="translate", type="bool", default=False, description="Into English."),
        )  # fmt: skip
    return Signature(
        inputs=(_AUDIO,),
        outputs=(
            TensorSpec(name="text", datatype="BYTES", kind="text"),
            TensorSpec(name="duration", datatype="FP64", description="Of the recording, in seconds."),
        ),
        parameters=parameters,
    )


_SIGNATURES = {
    "image-classification": lambda config: _classes(_IMAGE),
    "audio-classification": lambda config: _classes(_AUDIO),
    "image-embedding": _embedding,
    "object-detection": _objects,
    "speech-recognition": _speech,
}
