"""CREPE by torchcrepe: the pitch of one voice over time, as the package's README calls it."""

import json
import sys
import types

from modelyard_executor.adapter import InvalidInput
from modelyard_executor.adapters.sound import read_sound


class Model:
    def load(self, folder):
        # The index has torchaudio for CUDA alone; torchcrepe reads files with it, and no file is read here.
        sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
        import torchcrepe

        self._size = json.loads((folder / "options.json").read_text())["model"]
        torchcrepe.load.model("cpu", self._size)

    def predict(self, audio: bytes, fmin: float = 50.0, fmax: float = 2006.0):
        import numpy
        import torch
        import torchcrepe

        if not 0 < fmin < fmax <= 2006.0:
            raise InvalidInput("parameters.fmin", "fmin is below fmax, which is 2006 Hz at most.")
        sound = torch.from_numpy(read_sound(audio, 16000, "inputs.audio", most=600.0))[None]
        numpy.random.seed(
            0
        )  # it moves each pitch within its bin at random; the same way for the same recording
        pitch, periodicity = torchcrepe.predict(
            sound, 16000, 160, fmin, fmax, self._size, return_periodicity=True, batch_size=512, device="cpu"
        )
        return {"pitch": pitch[0].double(), "periodicity": periodicity[0].double()}
