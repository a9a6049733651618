"""Models of the transformers library that hear: the words of a recording (Whisper, Moonshine, CTC), its classes."""

from importlib import import_module
from pathlib import Path
from typing import Any, List, Mapping, Sequence

from ..adapter import InvalidInput, LoadError
from .image import classes
from .pretrained import load
from .record_adapter import Record, RecordAdapter
from .sound import read_sound

_LONGEST = 4 * 3600.0  # seconds
_WINDOW = 30.0  # seconds that Whisper hears at a time


class Adapter(RecordAdapter):
    """One recording at a time: their lengths differ by hundreds, and a long one fills the processor alone."""

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``task``, ``signature``, ``threads``, ``precision`` (float32, or bfloat16)."""
        transformers: Any = import_module("transformers")
        self._task = str(options["task"])
        config = transformers.AutoConfig.from_pretrained(
            files, local_files_only=True, trust_remote_code=False
        )
        architecture = str((config.architectures or [""])[0])
        if self._task == "audio-classification":
            auto, processor = "AutoModelForAudioClassification", "AutoFeatureExtractor"
        elif self._task == "speech-recognition":
            auto = "AutoModelForCTC" if architecture.endswith("ForCTC") else "AutoModelForSpeechSeq2Seq"
            processor = "AutoProcessor"
        else:
            raise LoadError(
                "there is no task %r; known: audio-classification, speech-recognition" % self._task
            )
        precision = str(options.get("precision") or "float32")
        self._torch, self._model = load(auto, files, device, int(options["threads"]), precision)
        try:
            self._processor = getattr(transformers, processor).from_pretrained(
                files, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, ImportError) as error:
            raise LoadError("transformers cannot load what prepares recordings: %s" % error) from error
        extractor = getattr(self._processor, "feature_extractor", self._processor)
        self._rate = int(extractor.sampling_rate)
        self._ctc = auto == "AutoModelForCTC"
        self._whisper = self._model.config.model_type == "whisper"
        self._device = device
        self._type = getattr(self._torch, precision)
        self._labels = {int(key): str(name) for key, name in (config.id2label or {}).items()}

    def check(self, record: Record) -> None:
        if record.get("top_k") is not None and record["top_k"] < 1:
            raise InvalidInput("parameters.top_k", "It is 1 or more.")
        if record.get("language"):
            from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

            spoken = record["language"].lower()
            if spoken not in LANGUAGES and spoken not in TO_LANGUAGE_CODE:
                raise InvalidInput("parameters.language", "%r is no language that Whisper knows." % spoken)
        record["sound"] = read_sound(record["audio"], self._rate, "inputs.audio", most=_LONGEST)

    def compute(self, records: Sequence[Record]) -> List[Record]:
        with self._torch.inference_mode():
            return [self._hear(record) for record in records]

    def _hear(self, record: Record) -> Record:
        if self._task == "audio-classification":
            inputs = self._prepared(record["sound"])
            scores = self._model(**inputs).logits[0].float().cpu()
            several = self._model.config.problem_type == "multi_label_classification"
            return classes(
                scores.sigmoid() if several else scores.softmax(-1), self._labels, record["top_k"]
            )
        duration = len(record["sound"]) / self._rate
        if self._ctc:
            tokens = self._model(**self._prepared(record["sound"])).logits.argmax(-1)
            text = self._processor.batch_decode(tokens)[0]
        elif self._whisper:
            text = self._written(record, duration)
        else:
            inputs = self._prepared(record["sound"])
            # Its own rule: six and a half tokens a second, lest it repeat itself for ever.
            tokens = self._model.generate(**inputs, max_new_tokens=max(8, int(duration * 6.5)))
            text = self._processor.batch_decode(tokens, skip_special_tokens=True)[0]
        return {"text": text.strip(), "duration": duration}

    def _written(self, record: Record, duration: float) -> str:
        """What Whisper writes; longer recordings by its own windows, each after the one before."""
        more = {}
        if getattr(self._model.generation_config, "is_multilingual", True):
            more["task"] = "translate" if record["translate"] else "transcribe"
            if record["language"]:
                more["language"] = record["language"].lower()
        if duration > _WINDOW:
            inputs = self._prepared(
                record["sound"], truncation=False, padding="longest", return_attention_mask=True
            )
            more["return_timestamps"] = True
        else:
            inputs = self._prepared(record["sound"], return_attention_mask=True)
        tokens = self._model.generate(**inputs, **more)
        return self._processor.batch_decode(tokens, skip_special_tokens=True)[0]

    def _prepared(self, sound: Any, **more: Any) -> Any:
        try:
            told = self._processor(sound, sampling_rate=self._rate, return_tensors="pt", **more)
        except ValueError as error:
            raise InvalidInput("inputs.audio", "The recording cannot be prepared: %s" % error) from None
        return {
            name: value.to(self._device, self._type if value.is_floating_point() else None)
            for name, value in told.items()
        }
