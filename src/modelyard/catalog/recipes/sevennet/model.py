"""SevenNet: energy, forces and stress by its ASE calculator, as its documentation calls it."""

import io
import json

from modelyard_executor.adapter import InvalidInput


class Model:
    def load(self, folder):
        from sevenn.calculator import SevenNetCalculator

        model = json.loads((folder / "options.json").read_text())["model"]
        self._calculator = SevenNetCalculator(model, device="cpu")

    def predict(self, structure: str):
        atoms = _atoms(structure)
        unknown = {n for n in atoms.numbers.tolist() if n not in self._calculator.type_map}
        if unknown:
            raise InvalidInput(
                "inputs.structure", f"The model does not know the elements {sorted(unknown)}."
            )
        atoms.calc = self._calculator
        return {
            "energy": float(atoms.get_potential_energy()),
            "forces": atoms.get_forces().tolist(),
            "stress": atoms.get_stress().tolist() if atoms.cell.rank == 3 else [0.0] * 6,
        }


def _atoms(text):
    from ase.io import read

    try:
        found = read(io.StringIO(text), format="extxyz")
    except Exception as error:  # noqa: BLE001 (its reader raises whatever it meets)
        raise InvalidInput("inputs.structure", f"This is not extended XYZ: {error}") from None
    if not len(found):
        raise InvalidInput("inputs.structure", "There is no atom.")
    return found
