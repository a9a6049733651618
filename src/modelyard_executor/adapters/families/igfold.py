"""IgFold, structures of antibodies and nanobodies: a PDB file, with the predicted error of each residue.

What ``IgFoldRunner.fold`` of the package does without refinement and renumbering, and without its files:
four networks, of whose structures the surest is taken.
"""

import math
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, List, Mapping, Sequence

from ..family import Family, Record, residues

FAMILY = {
    "format": "IgFold",
    "holds": ["antiberty"],
    "files": ["igfold/__init__.py", "igfold/trained_models/IgFold/*.ckpt", "antiberty/__init__.py"],
    "requirements": [
        "torch>=2.2,<3",
        "transformers>=4.40,<5",
        "pytorch-lightning>=2,<3",
        "biopython>=1.79,<2",
        "einops>=0.6,<1",
        "numpy>=1.26,<3",
        "requests",
        "tqdm",
    ],
    "signature": {
        "inputs": [
            {
                "name": "heavy",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "optional": True,
                "description": "The variable domain of the heavy chain, or a nanobody.",
            },
            {
                "name": "light",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "optional": True,
                "description": "The variable domain of the light chain.",
            },
        ],
        "outputs": [
            {
                "name": "structure",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "PDB: backbone and CB, chains H and L; the predicted error (angstrom) in the place of "
                "the B-factor.",
            },
            {
                "name": "error",
                "datatype": "FP32",
                "shape": [-1],
                "description": "Predicted root mean square deviation of each residue, in angstrom.",
            },
        ],
        "parameters": [
            {
                "name": "models",
                "type": "int",
                "default": 4,
                "description": "How many of the four networks predict; the surest is answered.",
            },
        ],
    },
    "example": {
        "heavy": "EVQLVQSGPEVKKPGTSVKVSCKASGFTFMSSAVQWVRQARGQRLEWIGWIVIGSGNTNYAQKFQERVTITRDMSTSTAYMELSSLRSEDTAVYYCA"
        "APYCSSISCNDGFDIWGQGTMVTVS",
        "light": "DVVMTQTPFSLPVSLGDQASISCRSSQSLVHSNGNTYLHWYLQKPGQSPKLLIYKVSNRFSGVPDRFSGSGSGTDFTLKISRVEAEDLGVYFCSQST"
        "HVPYTFGGGTKLEIK",
    },
}
_LIMIT = 510  # residues of a chain that AntiBERTy reads


class Adapter(Family):
    """One structure at a time: it fills the processor alone."""

    COST = {"cost": "length", "of": "heavy", "shape": "quadratic"}

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(int(options["threads"]))
        package: Any = import_module("antiberty")
        from igfold.model.IgFold import IgFold

        self._torch = torch
        self._device = device
        self._language = package.AntiBERTyRunner()
        self._models = []
        for path in sorted(files.glob("igfold/trained_models/IgFold/*.ckpt")):
            # Lightning's own loader refuses checkpoints of its first versions. They are a part of the
            # package whose code runs here, so nothing is won by reading them as if they were a stranger's.
            saved = torch.load(path, map_location="cpu", weights_only=False)
            model = IgFold(**saved["hyper_parameters"])
            model.load_state_dict(saved["state_dict"])
            self._models.append(model.to(device).eval())

    def check(self, record: Record) -> None:
        from ...adapter import InvalidInput

        chains = [name for name in ("heavy", "light") if record.get(name)]
        if not chains:
            raise InvalidInput("inputs.heavy", "Give the heavy chain, the light chain, or both.")
        for name in chains:
            residues(record, name, "ACDEFGHIKLMNPQRSTVWY", most=_LIMIT)
        if not 1 <= record["models"] <= len(self._models):
            raise InvalidInput("parameters.models", "There are 1 to %d models." % len(self._models))

    def compute(self, records: Sequence[Record]) -> List[Record]:
        return [self._fold(record) for record in records]

    def _fold(self, record: Record) -> Record:
        from igfold.model.interface import IgFoldInput
        from igfold.utils.folding import process_prediction

        torch = self._torch
        chains = {
            chain: record[name] for chain, name in (("H", "heavy"), ("L", "light")) if record.get(name)
        }
        vectors, attentions = self._language.embed(list(chains.values()), return_attention=True)
        asked = IgFoldInput(
            embeddings=[each[1:-1].unsqueeze(0) for each in vectors],
            attentions=[each[:, :, 1:-1, 1:-1].unsqueeze(0) for each in attentions],
            return_embeddings=True,
        )
        best, surest = None, math.inf
        for model in self._models[: record["models"]]:
            with torch.no_grad():
                found = model.gradient_refine(asked, model(asked))
            error = float(found.prmsd.quantile(0.9))
            if best is None or error < surest:
                best, surest = found, error
        with tempfile.TemporaryDirectory() as folder:
            fasta, pdb = Path(folder) / "in.fasta", Path(folder) / "out.pdb"
            fasta.write_text("".join(">%s\n%s\n" % each for each in chains.items()))
            answer = process_prediction(best, str(pdb), str(fasta), do_refine=False, do_renum=False)
            errors = answer.prmsd.square().mean(dim=-1).sqrt().squeeze(0)
            return {"structure": pdb.read_text(), "error": errors.detach()}
