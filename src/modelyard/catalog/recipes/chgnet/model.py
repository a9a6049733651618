"""CHGNet: energy, forces, stress and magnetic moments of a crystal, as the package's README calls it."""

import json
import sys
import types
import warnings

from modelyard_executor.adapter import InvalidInput


class Model:
    """A batch is one call of the package's own ``predict_structure``."""

    def load(self, folder):
        sys.path.insert(0, str(folder / "weights"))
        sys.modules.setdefault(
            "nvidia_smi", types.ModuleType("nvidia_smi")
        )  # it chooses between CUDA devices
        from chgnet.model.model import CHGNet

        options = json.loads((folder / "options.json").read_text())
        self._model = CHGNet.load(model_name=options["model"], use_device="cpu", verbose=False)

    def predict(self, structure: str):
        return self.predict_batch([{"structure": structure}])[0]

    def predict_batch(self, records):
        structures = [_crystal(record["structure"]) for record in records]
        answers = self._model.predict_structure(structures)
        return [
            {
                "energy": float(found["e"]),
                "forces": found["f"].tolist(),
                "stress": found["s"].tolist(),
                "magmoms": found["m"].tolist(),
            }
            for found in (answers if isinstance(answers, list) else [answers])  # of one, it gives the one
        ]


def _crystal(text):
    from pymatgen.core import Structure

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rounded coordinates
            return Structure.from_str(text, fmt="cif")
    except Exception as error:  # noqa: BLE001 (its reader raises whatever it meets)
        raise InvalidInput("inputs.structure", f"This is not a crystal in CIF: {error}") from None
