"""Basic Pitch: music to notes, by the ONNX model of the package and its own ``predict``."""

import io
import sys
import tempfile

from modelyard_executor.adapters.sound import read_sound


class Model:
    def load(self, folder):
        sys.path.insert(0, str(folder / "weights"))
        from basic_pitch import FilenameSuffix, build_icassp_2022_model_path
        from basic_pitch.inference import Model as Network

        self._network = Network(build_icassp_2022_model_path(FilenameSuffix.onnx))

    def predict(
        self,
        audio: bytes,
        onset_threshold: float = 0.5,
        frame_threshold: float = 0.3,
        minimum_note_length: float = 127.7,
    ):
        import soundfile
        from basic_pitch.constants import AUDIO_SAMPLE_RATE
        from basic_pitch.inference import predict

        sound = read_sound(audio, AUDIO_SAMPLE_RATE, "inputs.audio")
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:  # it reads a path
            soundfile.write(file.name, sound, AUDIO_SAMPLE_RATE, subtype="FLOAT")
            _, midi, notes = predict(
                file.name,
                self._network,
                onset_threshold=onset_threshold,
                frame_threshold=frame_threshold,
                minimum_note_length=minimum_note_length,
            )
        written = io.BytesIO()
        midi.write(written)
        return {"notes": [_note(*note) for note in sorted(notes)], "midi": written.getvalue()}


def _note(start, end, pitch, amplitude, bends):
    return {
        "start": float(start),
        "end": float(end),
        "pitch": int(pitch),
        "amplitude": float(amplitude),
        "bends": [int(each) for each in bends or ()],
    }
