"""ESMFold as transformers saves it: the structure of a protein from its sequence alone.

What ``EsmForProteinFolding.infer`` does, with the number of recycles and the chunks of the axial attention told by
the call; its answers are those of a sequence alone, whatever it is computed with: only sequences of one length are
computed together, and pTM, of which the library tells one for a whole batch, is that of each.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from ...adapter import InvalidInput, LoadError
from ..family import Family, Record, residues
from ..record_adapter import alike

FAMILY = {
    "format": "ESMFold",
    "files": ["config.json"],
    "architecture": "EsmForProteinFolding",
    "requirements": [
        "torch>=2.6,<3",  # reads weights of PyTorch's own format without running what is in them
        "transformers>=4.45,<5",
        "safetensors>=0.4,<1",
        "numpy>=1.26,<3",
    ],
    "signature": {
        "inputs": [
            {
                "name": "sequence",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "One chain, in one-letter amino acids; X is an unknown one.",
            },
        ],
        "outputs": [
            {
                "name": "structure",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "PDB; pLDDT (0 to 100) of each atom in the place of the B-factor.",
            },
            {
                "name": "plddt",
                "datatype": "FP32",
                "shape": [-1],
                "description": "Of each residue's C-alpha, 0 to 100.",
            },
            {
                "name": "mean_plddt",
                "datatype": "FP32",
                "shape": [],
                "description": "Over all atoms, 0 to 100.",
            },
            {"name": "ptm", "datatype": "FP32", "shape": [], "description": "Predicted TM-score, 0 to 1."},
        ],
        "parameters": [
            {
                "name": "num_recycles",
                "type": "int",
                "default": None,
                "description": "How often the answer goes through the trunk again; as trained (3) when left out.",
            },
            {
                "name": "chunk_size",
                "type": "int",
                "default": None,
                "description": "Rows of the axial attention at once: fewer take less memory and more time; 0 is all.",
            },
        ],
    },
    "example": {"sequence": "MKTVRQERLKSIVRILERSKEPVSGAQLAEELSVSRQVIVQDIAYLRSLGYNIVATPRGYVLAGG"},
}
_MOST_RECYCLES = 32
# Bytes at once for each pair of residues and each channel of the pair representation, measured with the sizes of
# esmfold_v1 and chunks of 64 and 128; the attention of a chunk comes on top of it.
_PER_PAIR = 72


class Adapter(Family):
    """One protein at a time, unless several have the same length."""

    COST = {"cost": "length", "of": "sequence", "shape": "quadratic"}

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch

        torch.set_num_threads(int(options["threads"]))
        transformers: Any = import_module("transformers")
        esm: Any = import_module("transformers.models.esm.modeling_esmfold")
        transformers.utils.logging.disable_progress_bar()
        try:
            model, told = transformers.EsmForProteinFolding.from_pretrained(
                files,
                local_files_only=True,
                use_safetensors=any(files.glob("*.safetensors")),
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError) as error:
            raise LoadError("transformers cannot load the model: %s" % error) from error
        # The head for contacts is no part of folding, and not among the weights.
        missing = sorted(name for name in told["missing_keys"] if "contact_head" not in name)
        if missing:
            raise LoadError("the weights have no %s, which the model needs" % ", ".join(missing[:3]))
        if device == "cpu":
            model.esm.float()  # it is kept in half precision, which a CPU computes slowly or not at all
        self._torch, self._esm, self._device = torch, esm, device
        self._model = model.to(device).eval()
        self._trunk = model.config.esmfold_config.trunk
        self._letters: Dict[str, int] = esm.residue_constants.restype_order_with_x

    def check(self, record: Record) -> None:
        sequence = record.get("sequence", "")
        if ":" in sequence or "/" in sequence:
            raise InvalidInput(
                "inputs.sequence", "It is a single chain; transformers' ESMFold folds no complexes."
            )
        residues(record, "sequence", "ACDEFGHIKLMNPQRSTVWYX", most=self.longest(record["chunk_size"]))
        recycles = record["num_recycles"]
        if recycles is not None and not 0 <= recycles <= _MOST_RECYCLES:
            raise InvalidInput("parameters.num_recycles", "It is 0 to %d." % _MOST_RECYCLES)
        if record["chunk_size"] is not None and record["chunk_size"] < 0:
            raise InvalidInput("parameters.chunk_size", "It is 1 or more, or 0 for all at once.")

    def longest(self, chunk: Optional[int] = None) -> int:
        """Residues that the memory which is free has room for; at least 64."""
        length = 64
        while self._bytes(length + 64, chunk) < self._free():
            length += 64
        return length

    def _bytes(self, length: int, chunk: Optional[int]) -> int:
        """What a protein of ``length`` residues takes beside the weights."""
        width = int(self._trunk.pairwise_state_dim)
        rows = min(length, self._chunk(chunk) or length)
        heads = width // int(self._trunk.pairwise_head_width)
        return length * length * (_PER_PAIR * width + 8 * heads * rows)

    def _chunk(self, asked: Optional[int]) -> Optional[int]:
        return self._trunk.chunk_size if asked is None else asked or None

    def _free(self) -> int:
        """Bytes that are free where it computes."""
        if self._device != "cpu":
            free, _ = self._torch.cuda.mem_get_info(self._device)
            kept = self._torch.cuda.memory_reserved(self._device) - self._torch.cuda.memory_allocated(
                self._device
            )
            return int(free + kept)
        try:
            lines = Path("/proc/meminfo").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        except (OSError, StopIteration, ValueError):
            return 8 * 1024**3

    def compute(self, records: Sequence[Record]) -> List[Record]:
        for record in records:
            record["length"] = len(record["sequence"])
        results: List[Record] = [{}] * len(records)
        for group in alike(records, ["length", "num_recycles", "chunk_size"]):
            for batch in self._parts(records, group):
                for index, result in zip(batch, self._fold([records[each] for each in batch])):
                    results[index] = result
        return results

    def _parts(self, records: Sequence[Record], group: List[int]) -> Iterator[List[int]]:
        """Indexes of records of one length, as many at once as there is memory for."""
        first = records[group[0]]
        most = max(1, self._free() // self._bytes(first["length"], first["chunk_size"]))
        for start in range(0, len(group), most):
            yield group[start : start + most]

    def _fold(self, records: Sequence[Record]) -> List[Record]:
        torch, esm = self._torch, self._esm
        letters = [[self._letters[letter] for letter in record["sequence"]] for record in records]
        self._model.trunk.set_chunk_size(self._chunk(records[0]["chunk_size"]))
        with torch.inference_mode():
            found = self._model(
                torch.tensor(letters, device=self._device), num_recycles=records[0]["num_recycles"]
            )
            found["plddt"] = 100 * found["plddt"]
            exists = found["atom37_atom_exists"]
            means = (found["plddt"] * exists).sum((1, 2)) / exists.sum((1, 2))
            ptms = [esm.compute_tm(each[None], max_bin=31, no_bins=self._model.distogram_bins)
                    for each in found["ptm_logits"]]  # fmt: skip
            return [
                {
                    "structure": pdb,
                    "plddt": plddt[:, 1].float().cpu(),
                    "mean_plddt": float(mean),
                    "ptm": float(ptm),
                }
                for pdb, plddt, mean, ptm in zip(
                    self._model.output_to_pdb(found), found["plddt"], means, ptms
                )
            ]
