"""AutoDock Vina, docking: poses of a ligand in a box of a receptor, best first, with their energies."""

import json
import math
import re
from importlib import import_module
from pathlib import Path
from typing import Any, List, Mapping, Sequence, Union

from ...adapter import InvalidInput, ItemError
from ..family import Family, Record

FAMILY = {
    "format": "AutoDock Vina",
    "files": [],
    "requirements": [
        "vina>=1.2.5,<2",
        "meeko>=0.6,<1",
        "rdkit>=2024.3",
        "numpy>=1.26,<3",
        "scipy>=1.11,<2",
        "gemmi",
    ],
    "signature": {
        "inputs": [
            {
                "name": "receptor",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "The rigid receptor, PDBQT.",
            },
            {
                "name": "ligand",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "PDBQT, or SMILES, which is made three-dimensional and protonated as it is written.",
            },
            {"name": "center", "datatype": "FP64", "shape": [3], "description": "Of the box, in angstrom."},
            {
                "name": "box_size",
                "datatype": "FP64",
                "shape": [3],
                "description": "Edges of the box, in angstrom.",
            },
        ],
        "outputs": [
            {
                "name": "poses",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "PDBQT, one MODEL for each pose, best first.",
            },
            {
                "name": "energies",
                "datatype": "FP64",
                "shape": [-1],
                "description": "Of the poses, in kcal/mol.",
            },
        ],
        "parameters": [
            {"name": "exhaustiveness", "type": "int", "default": 8, "description": "Runs; 1 to 128."},
            {"name": "n_poses", "type": "int", "default": 9, "description": "Poses at most; 1 to 100."},
            {"name": "seed", "type": "int", "default": 1, "description": "The same gives the same poses."},
        ],
    },
    "example": None,
}
_SMILES = re.compile(r"[A-Za-z0-9@+\-\[\]()=#$:./\\%*~]+")
_VOLUME = 60.0**3  # cubic angstrom, above which Vina's maps take gigabytes


class Adapter(Family):
    """One docking at a time, on the threads that the node gives."""

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        package: Any = import_module("vina")  # not this file
        self._vina = package.Vina
        self._threads = int(options["threads"])
        self._folder = Path.cwd()

    def check(self, record: Record) -> None:
        if not any(line.startswith(("ATOM", "HETATM")) for line in record["receptor"].splitlines()):
            raise InvalidInput("inputs.receptor", "There are no ATOM lines; the receptor is to be PDBQT.")
        ligand = record["ligand"].strip()
        if not ligand or not ("ATOM" in ligand or _SMILES.fullmatch(ligand)):
            raise InvalidInput(
                "inputs.ligand", "The ligand is to be PDBQT (with ROOT and ATOM lines) or SMILES."
            )
        for name in ("center", "box_size"):
            if not all(map(math.isfinite, record[name])):
                raise InvalidInput("inputs." + name, "Give three finite numbers.")
        if min(record["box_size"]) <= 0 or math.prod(record["box_size"]) > _VOLUME:
            raise InvalidInput(
                "inputs.box_size", "Edges are above 0, and their product at most 60³ cubic angstrom."
            )
        for name, most in (("exhaustiveness", 128), ("n_poses", 100)):
            if not 1 <= record[name] <= most:
                raise InvalidInput("parameters." + name, "It is 1 to %d." % most)

    def compute(self, records: Sequence[Record]) -> Sequence[Union[Record, ItemError]]:
        results: List[Union[Record, ItemError]] = []
        for record in records:
            try:
                results.append(self._dock(record))
            except ItemError as error:
                results.append(error)
        return results

    def _dock(self, record: Record) -> Record:
        receptor = self._folder / "receptor.pdbqt"  # Vina reads a receptor from a file only
        receptor.write_text(record["receptor"])
        docking = self._vina(sf_name="vina", cpu=self._threads, seed=record["seed"], verbosity=0)
        try:
            docking.set_receptor(str(receptor))
        except RuntimeError as error:
            raise InvalidInput("inputs.receptor", _said(error)) from None
        ligand = record["ligand"].strip()
        try:
            docking.set_ligand_from_string(ligand if "ATOM" in ligand else prepared(ligand, record["seed"]))
        except RuntimeError as error:
            raise InvalidInput("inputs.ligand", _said(error)) from None
        docking.compute_vina_maps(center=list(record["center"]), box_size=list(record["box_size"]))
        docking.dock(exhaustiveness=record["exhaustiveness"], n_poses=record["n_poses"])
        energies = docking.energies(n_poses=record["n_poses"])
        return {
            "poses": docking.poses(n_poses=record["n_poses"]),
            "energies": [float(row[0]) for row in energies],
        }


def prepared(smiles: str, seed: int) -> str:
    """A molecule as PDBQT: hydrogens, one conformation, torsions. Raises InvalidInput."""
    from meeko import MoleculePreparation, PDBQTWriterLegacy
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise InvalidInput("inputs.ligand", "%.100r is not a molecule that RDKit can read." % smiles)
    molecule = Chem.AddHs(molecule)
    if AllChem.EmbedMolecule(molecule, randomSeed=seed) != 0:
        raise InvalidInput("inputs.ligand", "No three-dimensional structure was found for it; send PDBQT.")
    AllChem.MMFFOptimizeMolecule(molecule)
    (setup, *_) = MoleculePreparation().prepare(molecule)
    text, fine, why = PDBQTWriterLegacy.write_string(setup)
    if not fine:
        raise InvalidInput("inputs.ligand", "It cannot be written as PDBQT: %s" % json.dumps(why))
    return text


def _said(error: RuntimeError) -> str:
    return "Vina does not take it: %s" % " ".join(str(error).split())[:300]
