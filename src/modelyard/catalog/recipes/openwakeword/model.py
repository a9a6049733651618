"""openWakeWord: how likely each of its words was spoken, by the package's own ``predict_clip``."""

from modelyard_executor.adapters.sound import read_sound


class Model:
    """Recordings are heard from silence on: what was heard before leaves no trace."""

    def load(self, folder):
        from openwakeword.model import Model as Network

        self._network = Network(inference_framework="onnx")

    def predict(self, audio: bytes, per_frame: bool = False):
        import numpy

        sound = read_sound(audio, 16000, "inputs.audio", most=3600.0)
        self._forget()
        frames = self._network.predict_clip((sound * 32767).clip(-32768, 32767).astype(numpy.int16))
        scores = {name: [float(frame[name]) for frame in frames] for name in frames[0]}
        return {"scores": scores if per_frame else {name: max(each) for name, each in scores.items()}}

    def _forget(self):
        """What the package keeps of earlier sounds, as it is in a new one; that begins with noise, always the same."""
        import numpy
        from openwakeword.utils import AudioFeatures

        numpy.random.seed(0)
        self._network.reset()
        self._network.preprocessor = AudioFeatures(inference_framework="onnx")
