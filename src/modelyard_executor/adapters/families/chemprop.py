"""ADMET-AI, properties of molecules: ensembles of Chemprop models, and descriptors of RDKit.

Each folder of models in the package's ``resources/models`` is one ensemble, whose mean is answered. What
``ADMETModel.predict`` of the package does, without a trainer for each call.
"""

from pathlib import Path
from typing import Any, List, Mapping, Sequence, Union

from ...adapter import InvalidInput, ItemError
from ..family import Family, Record

FAMILY = {
    "format": "ADMET-AI",
    "files": ["admet_ai/__init__.py", "admet_ai/resources/models/*/*.pt"],
    "requirements": [
        "chemprop>=2.2.2,<3",
        "lightning>=2.3,<3",
        "numpy>=1.26,<3",
        "pandas>=2,<4",
        "rdkit>=2025.9.5",
        "scipy>=1.11,<2",
        "torch>=2.8,<3",
        "tqdm>=4.66.3",
        "typed-argument-parser>=1.11,<2",
    ],
    "signature": {
        "inputs": [
            {
                "name": "smiles",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "One molecule.",
            },
        ],
        "outputs": [
            {
                "name": "properties",
                "datatype": "BYTES",
                "shape": [],
                "kind": "json",
                "description": "A number for each property; with percentiles also where among approved drugs it lies.",
            },
        ],
        "parameters": [
            {
                "name": "physicochemical",
                "type": "bool",
                "default": True,
                "description": "RDKit's descriptors too (molecular weight, logP, …).",
            },
            {
                "name": "percentiles",
                "type": "bool",
                "default": False,
                "description": "The percentile of each property among DrugBank's approved drugs.",
            },
        ],
    },
    "example": {"smiles": "CC(=O)Oc1ccccc1C(=O)O"},
}


class Adapter(Family):
    """Molecules of one batch are one graph."""

    COST = {"cost": "length", "of": "smiles", "shape": "ragged"}

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(int(options["threads"]))
        from admet_ai import ADMETModel
        from chemprop.data import MoleculeDatapoint, MoleculeDataset, collate_batch
        from rdkit import Chem, RDLogger

        RDLogger.DisableLog("rdApp.*")  # what it says of a molecule is told to its caller
        self._torch, self._device, self._parse = torch, device, Chem.MolFromSmiles
        self._point, self._dataset, self._collate = MoleculeDatapoint, MoleculeDataset, collate_batch
        self._admet = ADMETModel(num_workers=0)
        for models in self._admet.model_lists:
            for model in models:
                model.to(device).eval()

    def check(self, record: Record) -> None:
        smiles = record["smiles"] = record["smiles"].strip()
        molecule = self._parse(smiles) if smiles else None
        if molecule is None or not molecule.GetNumAtoms():
            raise InvalidInput(
                "inputs.smiles", "%.100r is not a molecule in SMILES that RDKit can read." % smiles
            )
        record["molecule"] = molecule

    def compute(self, records: Sequence[Record]) -> Sequence[Union[Record, ItemError]]:
        from admet_ai.physchem import compute_physicochemical_properties

        torch, admet = self._torch, self._admet
        molecules = [record["molecule"] for record in records]
        found: List[Record] = [{} for _ in records]
        if any(record["physicochemical"] for record in records):
            table = compute_physicochemical_properties(
                all_smiles=[record["smiles"] for record in records], mols=molecules
            )
            for row, values in enumerate(table.to_dict("records")):
                if records[row]["physicochemical"]:
                    found[row].update(values)
        batch = self._collate(list(self._dataset([self._point(mol=molecule) for molecule in molecules])))
        batch.bmg.to(self._device)
        with torch.inference_mode():
            for names, models in zip(admet.task_lists, admet.model_lists):
                means = torch.stack([model(batch.bmg, batch.V_d, batch.X_d) for model in models]).mean(0)
                for row, values in enumerate(means.cpu().numpy()):
                    found[row].update(zip(names, values.tolist()))
        for record, values in zip(records, found):
            if record["percentiles"]:
                values.update(self._percentiles(values))
        return [{"properties": values} for values in found]

    def _percentiles(self, values: Record) -> Record:
        from scipy.stats import percentileofscore

        drugs = self._admet.drugbank_atc_filtered
        return {
            "%s_drugbank_approved_percentile" % name: percentileofscore(drugs[name], value)
            for name, value in values.items()
        }
