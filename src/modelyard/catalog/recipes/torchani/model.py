"""ANI potentials of TorchANI: energy and forces of molecules, as its documentation computes them."""

import io
import json

from modelyard_executor.adapter import InvalidInput


class Model:
    """Molecules are padded with the species -1, as the package pads its own batches."""

    def load(self, folder):
        import torchani

        name = json.loads((folder / "options.json").read_text())["model"]
        self._model = getattr(torchani.models, name)(periodic_table_index=True)
        self._species = tuple(self._model.species)

    def predict(self, structure: str):
        return self.predict_batch([{"structure": structure}])[0]

    def predict_batch(self, records):
        import torch
        from torch.nn.utils.rnn import pad_sequence

        molecules = [self._molecule(record["structure"]) for record in records]
        species = pad_sequence(
            [torch.tensor(each.numbers) for each in molecules], batch_first=True, padding_value=-1
        )
        places = pad_sequence(
            [torch.tensor(each.positions, dtype=torch.float32) for each in molecules], batch_first=True
        ).requires_grad_(True)
        energies = self._model((species, places)).energies
        (slope,) = torch.autograd.grad(energies.sum(), places)
        return [
            {"energy": float(energy), "forces": (-each[: len(molecule)]).tolist()}
            for energy, each, molecule in zip(energies, slope, molecules, strict=True)
        ]

    def _molecule(self, text):
        from ase.io import read

        try:
            found = read(io.StringIO(text), format="xyz")
        except Exception as error:  # noqa: BLE001 (its reader raises whatever it meets)
            raise InvalidInput("inputs.structure", f"This is not a molecule in XYZ: {error}") from None
        unknown = set(found.get_chemical_symbols()) - set(self._species)
        if unknown or not len(found):
            raise InvalidInput(
                "inputs.structure",
                f"The model knows {self._species}; this has {sorted(unknown) or 'no atom'}.",
            )
        return found
