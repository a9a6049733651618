"""Silero VAD: where in a recording somebody speaks."""

from pathlib import Path
from typing import Any, List, Mapping, Sequence

from ...adapter import InvalidInput
from ..family import Family, Record
from ..sound import read_sound

FAMILY = {
    "format": "Silero VAD",
    "files": ["silero_vad/__init__.py", "silero_vad/data/silero_vad.jit"],
    "requirements": ["torch>=1.12,<3", "packaging", "soundfile>=0.12,<1", "soxr>=0.3,<2", "numpy>=1.26,<3"],
    "signature": {
        "inputs": [
            {
                "name": "audio",
                "datatype": "BYTES",
                "shape": [],
                "kind": "bytes",
                "description": "A recording: WAV, FLAC, OGG or MP3; several channels are averaged.",
            },
        ],
        "outputs": [
            {
                "name": "segments",
                "datatype": "BYTES",
                "shape": [],
                "kind": "json",
                "description": "start and end of each stretch of speech, in seconds.",
            },
            {
                "name": "duration",
                "datatype": "FP64",
                "shape": [],
                "description": "Of the recording, in seconds.",
            },
        ],
        "parameters": [
            {
                "name": "threshold",
                "type": "float",
                "default": 0.5,
                "description": "Speech is what is at least so probable.",
            },
            {
                "name": "min_speech_ms",
                "type": "int",
                "default": 250,
                "description": "Shorter stretches are dropped.",
            },
            {
                "name": "min_silence_ms",
                "type": "int",
                "default": 100,
                "description": "Shorter gaps are closed.",
            },
        ],
    },
    "example": None,
}
_RATE = 16_000


class Adapter(Family):
    """One recording at a time: the network has a memory, which goes along it."""

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        import torch
        from silero_vad import get_speech_timestamps, load_silero_vad  # type: ignore[attr-defined]

        torch.set_num_threads(int(options["threads"]))
        self._torch = torch
        self._model = load_silero_vad()
        self._find = get_speech_timestamps

    def check(self, record: Record) -> None:
        record["sound"] = read_sound(record["audio"], _RATE, "inputs.audio")
        if not 0 < record["threshold"] < 1:
            raise InvalidInput("parameters.threshold", "It is between 0 and 1.")

    def compute(self, records: Sequence[Record]) -> List[Record]:
        results: List[Record] = []
        for record in records:
            found = self._find(
                self._torch.from_numpy(record["sound"]),
                self._model,
                threshold=record["threshold"],
                sampling_rate=_RATE,
                min_speech_duration_ms=record["min_speech_ms"],
                min_silence_duration_ms=record["min_silence_ms"],
            )
            segments = [{end: each[end] / _RATE for end in ("start", "end")} for each in found]
            results.append({"segments": segments, "duration": len(record["sound"]) / _RATE})
        return results
