"""AntiBERTy, a language model of antibodies: embeddings, species, chain, masked residues, likelihood.

One computation for a batch gives what ``AntiBERTyRunner`` of the package gives in several (``embed``,
``classify``, ``fill_masks``); its ``pseudo_log_likelihood`` is one more for each residue.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from ..family import Family, Record, residues

FAMILY = {
    "format": "AntiBERTy",
    "files": [
        "antiberty/__init__.py",
        "antiberty/trained_models/vocab.txt",
        "antiberty/trained_models/*/pytorch_model.bin",
    ],
    "requirements": ["torch>=2.2,<3", "transformers>=4.40,<5", "numpy>=1.26,<3", "tqdm"],
    "signature": {
        "inputs": [
            {
                "name": "sequence",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "description": "The variable domain of a heavy or a light chain; _ hides a residue.",
            },
        ],
        "outputs": [
            {"name": "species", "datatype": "BYTES", "shape": [], "kind": "text"},
            {"name": "chain", "datatype": "BYTES", "shape": [], "kind": "text"},
            {
                "name": "embedding",
                "datatype": "FP32",
                "shape": [512],
                "kind": "embedding",
                "optional": True,
                "description": "The mean over the residues, without the tokens for begin and end.",
            },
            {"name": "per_residue", "datatype": "FP32", "shape": [-1, 512], "optional": True},
            {
                "name": "filled",
                "datatype": "BYTES",
                "shape": [],
                "kind": "text",
                "optional": True,
                "description": "The sequence with the likeliest residue in the place of each _.",
            },
            {
                "name": "log_likelihood",
                "datatype": "FP64",
                "shape": [],
                "optional": True,
                "description": "The mean pseudo-log-likelihood of a residue.",
            },
        ],
        "parameters": [
            {"name": "include_embeddings", "type": "bool", "default": True},
            {"name": "include_per_residue", "type": "bool", "default": False},
            {
                "name": "layer",
                "type": "int",
                "default": -1,
                "description": "Where embeddings are taken: 0 (the input) to 8; negative ones count from the end.",
            },
            {"name": "include_log_likelihood", "type": "bool", "default": False},
        ],
    },
    "example": {
        "sequence": "EVQLVQSGPEVKKPGTSVKVSCKASGFTFMSSAVQWVRQARGQRLEWIGWIVIGSGNTNYAQKFQERVTITRDMSTSTAYMELSSLRSEDTAVYY"
        "CAAPYCSSISCNDGFDIWGQGTMVTVS"
    },
}
_LAYERS = 8
_LIMIT = 510  # positions, less the two ends
_AT_ONCE = 32  # sequences of one computation; more only cost memory on a processor


class Adapter(Family):
    """Sequences of one batch are padded to the longest."""

    COST = {"cost": "length", "of": "sequence", "shape": "padded"}

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(int(options["threads"]))
        package: Any = import_module("antiberty")  # not this file
        from antiberty.AntiBERTyRunner import CHECKPOINT_PATH, LABEL_TO_CHAIN, LABEL_TO_SPECIES, VOCAB_FILE

        self._torch = torch
        self._device = device
        self._species, self._chains = LABEL_TO_SPECIES, LABEL_TO_CHAIN
        self._model = package.AntiBERTy.from_pretrained(CHECKPOINT_PATH).to(device).eval()
        tokens = Path(VOCAB_FILE).read_text().split()
        self._letters: Dict[str, int] = {token: number for number, token in enumerate(tokens)}
        self._letters["_"] = self._letters["[MASK]"]
        self._tokens = tokens
        self._special = [number for number, token in enumerate(tokens) if len(token) > 1]

    def check(self, record: Record) -> None:
        from ...adapter import InvalidInput

        residues(record, "sequence", "ACDEFGHIKLMNPQRSTVWY_", most=_LIMIT)
        if not -_LAYERS - 1 <= record["layer"] <= _LAYERS:
            raise InvalidInput(
                "parameters.layer",
                "The layers are 0 (the input) to %d; negative ones count back." % _LAYERS,
            )
        if record["include_log_likelihood"] and "_" in record["sequence"]:
            raise InvalidInput("inputs.sequence", "A sequence with hidden residues has no likelihood.")

    def compute(self, records: Sequence[Record]) -> List[Record]:
        results: List[Record] = [{} for _ in records]
        order = sorted(range(len(records)), key=lambda index: len(records[index]["sequence"]))
        with self._torch.inference_mode():
            for start in range(0, len(order), _AT_ONCE):
                self._together(records, results, order[start : start + _AT_ONCE])
            for record, result in zip(records, results):
                if record["include_log_likelihood"]:
                    result["log_likelihood"] = self._log_likelihood(record["sequence"])
        return results

    def _together(self, records: Sequence[Record], results: List[Record], indexes: Sequence[int]) -> None:
        encoded = [self._encode(records[index]["sequence"]) for index in indexes]
        found = self._run(encoded, hidden=True)
        species = found.species_logits.argmax(-1).tolist()
        chains = found.chain_logits.argmax(-1).tolist()
        for row, index in enumerate(indexes):
            record, result = records[index], results[index]
            inner = slice(1, len(encoded[row]) - 1)
            result.update(species=self._species[species[row]], chain=self._chains[chains[row]])
            vectors = found.hidden_states[record["layer"]][row, inner].float().cpu()
            if record["include_embeddings"]:
                result["embedding"] = vectors.mean(0)
            if record["include_per_residue"]:
                result["per_residue"] = vectors
            if "_" in record["sequence"]:
                scores = found.prediction_logits[row, inner].clone()
                scores[:, self._special] = -float("inf")
                best = scores.argmax(-1).tolist()
                result["filled"] = "".join(
                    self._tokens[best[place]] if letter == "_" else letter
                    for place, letter in enumerate(record["sequence"])
                )

    def _log_likelihood(self, sequence: str) -> float:
        torch = self._torch
        tokens = self._encode(sequence)
        total = 0.0
        for start in range(1, len(tokens) - 1, _AT_ONCE):
            places = range(start, min(start + _AT_ONCE, len(tokens) - 1))
            hidden = [[*tokens[:place], self._letters["_"], *tokens[place + 1 :]] for place in places]
            scores = self._run(hidden).prediction_logits
            scores[:, :, self._special] = -float("inf")
            each = torch.log_softmax(scores[range(len(places)), list(places)].double(), -1)
            total += float(each[range(len(places)), [tokens[place] for place in places]].sum())
        return total / (len(tokens) - 2)

    def _encode(self, sequence: str) -> List[int]:
        return [self._letters["[CLS]"], *map(self._letters.__getitem__, sequence), self._letters["[SEP]"]]

    def _run(self, encoded: Sequence[Sequence[int]], *, hidden: bool = False) -> Any:
        torch = self._torch
        width = max(map(len, encoded))
        tokens = torch.zeros((len(encoded), width), dtype=torch.long)  # [PAD] is 0
        mask = torch.zeros_like(tokens)
        for row, each in enumerate(encoded):
            tokens[row, : len(each)] = torch.tensor(each)
            mask[row, : len(each)] = 1
        return self._model(
            input_ids=tokens.to(self._device),
            attention_mask=mask.to(self._device),
            output_hidden_states=hidden,
        )
