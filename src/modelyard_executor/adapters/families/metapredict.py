"""metapredict, how disordered each residue of a protein is, and the confidence AlphaFold 2 would have in it."""

from importlib import import_module
from pathlib import Path
from typing import Any, List, Mapping, Sequence

from ...adapter import InvalidInput
from ..family import Family, Record, residues
from ..record_adapter import alike

FAMILY = {
    "format": "metapredict",
    "files": ["metapredict/__init__.py", "metapredict/backend/networks/*.ckpt"],
    "requirements": [
        "torch>=2.3,<3",
        "numpy>=2,<3",
        "scipy>=1.13,<2",
        "matplotlib>=3.8,<4",
        "protfasta>=0.1.13",
        "getSequence>=0.3",
        "packaging",
        "tqdm",
    ],
    "signature": {
        "inputs": [
            {
                "name": "sequence",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "A protein in one-letter residues.",
            },
        ],
        "outputs": [
            {
                "name": "disorder",
                "datatype": "FP32",
                "shape": [-1],
                "description": "From 0 (ordered) to 1, for each residue.",
            },
            {
                "name": "domains",
                "datatype": "BYTES",
                "shape": [],
                "kind": "json",
                "description": "disordered and folded: lists of [first, behind the last], counted from 0.",
            },
            {
                "name": "plddt",
                "datatype": "FP32",
                "shape": [-1],
                "optional": True,
                "description": "The confidence AlphaFold 2 would have, 0 to 100, for each residue.",
            },
        ],
        "parameters": [
            {"name": "network", "type": "string", "default": "V3", "description": "V1, V2 or V3."},
            {"name": "include_plddt", "type": "bool", "default": False},
        ],
    },
    "example": {"sequence": "DAPTSQEHTQAEDKERDSKTHPQKKQSPS"},
}


class Adapter(Family):
    """Sequences of one network are computed together, by the package's own batching."""

    COST = {"cost": "length", "of": "sequence", "shape": "padded"}

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(int(options["threads"]))
        package: Any = import_module("metapredict")  # not this file
        self._package = package
        self._device = "cpu" if device == "cpu" else "cuda"

    def check(self, record: Record) -> None:
        residues(record, "sequence", "ACDEFGHIKLMNPQRSTVWYBJOUXZ")
        if record["network"] not in ("V1", "V2", "V3"):
            raise InvalidInput("parameters.network", "It is V1, V2 or V3.")

    def compute(self, records: Sequence[Record]) -> List[Record]:
        results: List[Record] = [{} for _ in records]
        for indexes in alike(records, ["network"]):
            sequences = [records[index]["sequence"] for index in indexes]
            found = self._package.predict_disorder(
                dict(enumerate(sequences)),
                version=records[indexes[0]]["network"],
                device=self._device,
                return_domains=True,
                round_values=False,
            )
            for place, index in enumerate(indexes):
                results[index] = {
                    "disorder": found[place].disorder,
                    "domains": {
                        "disordered": found[place].disordered_domain_boundaries,
                        "folded": found[place].folded_domain_boundaries,
                    },
                }
        confident = [index for index, record in enumerate(records) if record["include_plddt"]]
        if confident:
            told = self._package.predict_pLDDT(
                {index: records[index]["sequence"] for index in confident},
                device=self._device,
                round_values=False,
            )
            for index in confident:
                results[index]["plddt"] = told[index][1]  # after the sequence
        return results
