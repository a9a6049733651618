"""SwiftF0: the pitch of one voice over time, as the package's README calls it."""

from modelyard_executor.adapters.sound import read_sound


class Model:
    def load(self, folder):
        from swift_f0 import SwiftF0

        self._detector = SwiftF0()

    def predict(self, audio: bytes):
        found = self._detector.detect(read_sound(audio, 16000, "inputs.audio"), 16000)
        return {"pitch": found.pitch_hz, "confidence": found.confidence}
