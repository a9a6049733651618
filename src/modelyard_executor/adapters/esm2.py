"""ESM-2 protein language models: embeddings, masked residues, likelihoods and contacts of sequences."""

import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from ..adapter import (
    Container,
    Cost,
    InvalidInput,
    Item,
    ItemError,
    LoadError,
    Outputs,
    Resources,
    Signature,
)
from ..tensor import Tensor, from_numpy, from_values
from .esm2_alphabet import STANDARD, Alphabet
from .esm2_network import Network, Packed

# Tokens of one computation. On a CPU more only cost memory: measured, 2,048 is as fast as any number above.
_MOST = {"cpu": 2 * 1024, "cuda": 128 * 1024}
_PRECISIONS = ("float32", "bfloat16")


class Adapter:
    """What a call asks for is computed for that call alone; what all need, once for the batch."""

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``max_length`` (residues), ``signature``, ``threads``, ``precision`` (float32 or
        bfloat16; by default bfloat16 on an accelerator, float32 on a CPU)."""
        os.environ["OMP_NUM_THREADS"] = str(options["threads"])
        import torch

        torch.set_num_threads(int(options["threads"]))
        self._torch = torch
        config = _read_config(files)
        kind = "cpu" if device == "cpu" else "cuda"
        precision = str(options.get("precision") or ("float32" if kind == "cpu" else "bfloat16"))
        if precision not in _PRECISIONS:
            raise LoadError(
                "the precision %r is not known; known: %s" % (precision, ", ".join(_PRECISIONS))
            )
        self._most = _MOST[kind]
        self._alphabet = Alphabet.of(files)
        if self._alphabet.size != config["vocab_size"]:
            raise LoadError(
                "vocab.txt has %d tokens; config.json says %s" % (self._alphabet.size, config["vocab_size"])
            )
        self._limit = int(options.get("max_length") or _limit(config))
        self._device = device
        self._size = sum(path.stat().st_size for path in files.glob("*.safetensors"))
        self._network = Network(files, config, device, precision)
        given = options.get("signature")
        self._signature: Signature = dict(given) if given else signature(
            self._network.width, self._network.has_language_head, self._network.has_contact_head
        )  # fmt: skip
        self._defaults = {each["name"]: each.get("default") for each in self._signature["parameters"]}
        for name, head in (
            ("include_log_likelihood", self._network.has_language_head),
            ("include_contacts", self._network.has_contact_head),
        ):
            if name in self._defaults and not head:
                raise LoadError(
                    "the signature has the parameter %s; the weights have no head for it" % name
                )

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        return {"cost": "length", "of": "sequence", "shape": "ragged"}

    def example(self) -> Optional[Dict[str, Any]]:
        return {"sequence": "MKTVRQERLKSIVRILERSKEPVSGAQL"}

    def prepare(self, items: Sequence[Item]) -> List[Union[List[bytes], ItemError]]:
        """The tokens of each item's sequences."""
        prepared: List[Union[List[bytes], ItemError]] = []
        for item in items:
            try:
                # What was validated has its tokens.
                prepared.append(self._encoded(item) if item.prepared is None else item.prepared)
            except ItemError as error:
                prepared.append(error)
        return prepared

    def validate(self, item: Item) -> None:
        """Raises InvalidInput for what is no protein, is too long, or asks for what cannot be given."""
        if item.prepared is None:
            item.prepared = self._encoded(item)
        layer = self._asked(item, "layer")
        if not -self._network.layers - 1 <= layer <= self._network.layers:
            raise InvalidInput(
                "parameters.layer",
                "The model has the layers 0 (the embedding) to %d; negative ones count from the end."
                % self._network.layers,
            )
        per_residue = self._asked(item, "include_per_residue") or self._asked(item, "include_contacts")
        if per_residue and len({len(row) for row in item.prepared}) > 1:
            raise InvalidInput(
                "inputs.sequence",
                "What is given per residue cannot be one tensor for sequences of different lengths; send each "
                "in a call of its own (they are computed together all the same).",
            )

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        """All sequences of all items in as few computations as memory allows, without padding."""
        rows: List[_Row] = []
        for item in items:
            if item.prepared is None:
                item.prepared = self._encoded(item)
            rows.extend(self._rows(item))
        with self._torch.inference_mode():
            for contacts in (False, True):
                for chunk in self._chunks(
                    [row for row in rows if row.computed and row.contacts == contacts]
                ):
                    self._compute(chunk, contacts)
            for row in rows:
                if row.likelihood:
                    row.outputs["log_likelihood"] = self._log_likelihood(row.tokens)
        results: List[Union[Outputs, ItemError]] = []
        position = 0
        for item in items:
            own = rows[position : position + len(item.prepared)]
            position += len(own)
            results.append(_joined(own))
        return results

    def _encoded(self, item: Item) -> List[bytes]:
        sequences = item.inputs["sequence"].values()
        return [
            self._alphabet.encode(
                sequence, self._limit, "sequence" if len(sequences) == 1 else "row %d: sequence" % row
            )
            for row, sequence in enumerate(sequences)
        ]

    def _asked(self, item: Item, name: str) -> Any:
        """A parameter of this call, or what the signature says for all."""
        value = item.parameters.get(name)
        if value is None:
            value = self._defaults.get(name)
        return value or 0

    def _rows(self, item: Item) -> List["_Row"]:
        layer = self._asked(item, "layer")
        layer = layer if layer >= 0 else self._network.layers + 1 + layer
        masks = [row.count(self._alphabet.mask) for row in item.prepared]
        # As one tensor only where all rows have as many; a call of one row always has.
        fills = self._network.has_language_head and min(masks) == max(masks) > 0
        return [
            _Row(
                row,
                layer,
                bool(self._asked(item, "include_embeddings")),
                bool(self._asked(item, "include_per_residue")),
                fills,
                bool(self._asked(item, "include_contacts")),
                bool(self._asked(item, "include_log_likelihood")),
            )
            for row in item.prepared
        ]

    def _chunks(self, rows: "Sequence[_Row]") -> "Iterator[List[_Row]]":
        """Rows of one length beside each other, cut where memory would run out."""
        chunk: List[_Row] = []
        tokens = 0
        for row in sorted(rows, key=lambda row: len(row.tokens)):
            if chunk and tokens + len(row.tokens) > self._most:
                yield chunk
                chunk, tokens = [], 0
            chunk.append(row)
            tokens += len(row.tokens)
        if chunk:
            yield chunk

    def _compute(self, rows: "List[_Row]", contacts: bool) -> None:
        """One pass through the network; each row's outputs are put into it."""
        network = self._network
        packed = network.pack([row.tokens for row in rows])
        wanted = {row.layer for row in rows if row.embedding or row.per_residue}
        if any(row.fills for row in rows) or not wanted:
            wanted.add(network.layers)
        maps: Optional[List[Any]] = [] if contacts else None
        found = network.hidden(packed, wanted, self._alphabet.mask, maps)
        means = {layer: network.means(found[layer], packed).cpu().numpy()
                 for layer in {row.layer for row in rows if row.embedding}}  # fmt: skip
        start = 0
        for index, row in enumerate(rows):
            inner = slice(start + 1, start + len(row.tokens) - 1)
            start += len(row.tokens)
            if row.embedding:
                row.outputs["embedding"] = from_numpy(means[row.layer][index])
            if row.per_residue:
                row.outputs["per_residue"] = from_numpy(found[row.layer][inner].float().cpu().numpy())
            if maps is not None:
                row.outputs["contacts"] = from_numpy(maps[index].cpu().numpy())
        if any(row.fills for row in rows):
            self._fill(rows, packed, found[network.layers])

    def _fill(self, rows: "List[_Row]", packed: Packed, states: Any) -> None:
        """Probabilities of the twenty amino acids at each <mask>."""
        places = (packed.ids == self._alphabet.mask).nonzero()[:, 0]
        chances = self._network.logits(states[places]).softmax(-1)[:, self._alphabet.standard]
        found, at = chances.cpu().numpy(), (packed.positions[places] - 1).cpu().numpy()
        start = 0
        for row in rows:
            count = row.tokens.count(self._alphabet.mask)
            if row.fills:
                row.outputs["mask_positions"] = from_numpy(at[start : start + count])
                row.outputs["mask_probabilities"] = from_numpy(found[start : start + count])
            start += count

    def _log_likelihood(self, tokens: bytes) -> Tensor:
        """Σ log p(residue | all others), each masked in its turn; residues masked already are left out.

        The pseudo-log-likelihood of Salazar et al. 2020, doi:10.18653/v1/2020.acl-main.240.
        """
        torch, mask = self._torch, self._alphabet.mask
        places = [place for place in range(1, len(tokens) - 1) if tokens[place] != mask]
        step = max(1, self._most // len(tokens))
        total = 0.0
        for first in range(0, len(places), step):
            chosen = places[first : first + step]
            packed = self._network.pack(
                [tokens[:place] + bytes((mask,)) + tokens[place + 1 :] for place in chosen]
            )
            states = self._network.hidden(packed, (self._network.layers,), mask)[self._network.layers]
            index = torch.tensor([row * len(tokens) + place for row, place in enumerate(chosen)])
            logs = self._network.logits(states[index.to(states.device)]).log_softmax(-1).cpu()
            true = torch.tensor([tokens[place] for place in chosen])
            total += float(logs.gather(1, true[:, None]).double().sum())
        return from_values("FP64", (), [total])

    def resources(self) -> Resources:
        return {"memory_bytes": self._size * 2, "device": self._device}

    def container(self) -> Container:
        return {"image": "python", "system_packages": []}


class _Row:
    """One sequence: its tokens, what is asked of it, and its outputs as they come."""

    __slots__ = (
        "contacts",
        "embedding",
        "fills",
        "layer",
        "likelihood",
        "outputs",
        "per_residue",
        "tokens",
    )

    def __init__(
        self,
        tokens: bytes,
        layer: int,
        embedding: bool,
        per_residue: bool,
        fills: bool,
        contacts: bool,
        likelihood: bool,
    ) -> None:
        self.tokens = tokens
        self.layer = layer
        self.embedding = embedding
        self.per_residue = per_residue
        self.fills = fills
        self.contacts = contacts
        self.likelihood = likelihood
        self.outputs: Outputs = {"length": from_values("INT64", (), [len(tokens) - 2])}

    @property
    def computed(self) -> bool:
        """Whether it has to go through the network at all."""
        return self.embedding or self.per_residue or self.fills or self.contacts


def signature(width: int, language_head: bool, contact_head: bool) -> Signature:
    """Inputs, outputs and parameters of an ESM-2 of this ``width`` with these heads."""
    outputs = [
        _output("length", "INT64", (), "tensor", "Residues of the sequence."),
        _output("embedding", "FP32", (width,), "embedding", "The mean over the residues."),
        _output("per_residue", "FP32", (-1, width), "tensor", "One vector per residue."),
    ]
    parameters: List[Tuple[str, str, Any, str]] = [
        ("include_embeddings", "bool", True, "Answer the embedding of each sequence."),
        ("include_per_residue", "bool", False, "Answer a vector per residue."),
        ("layer", "int", -1, "The layer that embeddings are taken from; 0 is the input, -1 the last."),
    ]
    if language_head:
        outputs += [
            _output("mask_positions", "INT64", (-1,), "tensor", "Where the sequence has <mask>, from 0."),
            _output(
                "mask_probabilities",
                "FP32",
                (-1, len(STANDARD)),
                "tensor",
                "Probabilities there of %s, of all tokens' together." % STANDARD,
            ),
            _output(
                "log_likelihood",
                "FP64",
                (),
                "tensor",
                "Sum over the residues of log p(residue given all others).",
            ),
        ]
        parameters.append(
            (
                "include_log_likelihood",
                "bool",
                False,
                "Answer the pseudo-log-likelihood; costs one computation per residue.",
            )
        )
    if contact_head:
        outputs.append(
            _output("contacts", "FP32", (-1, -1), "tensor", "Probability that two residues touch.")
        )
        parameters.append(("include_contacts", "bool", False, "Answer the map of contacts."))
    return {
        "inputs": [
            _output(
                "sequence", "BYTES", (), "text", "A protein, in one-letter amino acids; <mask> hides one."
            )
        ],
        "outputs": outputs,
        "parameters": [
            {"name": name, "type": kind, "default": default, "description": description}
            for name, kind, default, description in parameters
        ],
        "batched": True,
        "max_batch": None,
    }


def _output(name: str, datatype: str, shape: Sequence[int], kind: str, description: str) -> Dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "kind": kind, "optional": False,
            "description": description}  # fmt: skip


def _joined(rows: Sequence[_Row]) -> Outputs:
    """The rows of one call as one answer, with the batch axis."""
    if len(rows) == 1:
        return {
            name: Tensor(each.datatype, (1, *each.shape), each.data)
            for name, each in rows[0].outputs.items()
        }
    return {
        name: Tensor(
            first.datatype,
            (len(rows), *first.shape),
            b"".join(bytes(row.outputs[name].data) for row in rows),
        )
        for name, first in rows[0].outputs.items()
    }


def _read_config(files: Path) -> Dict[str, Any]:
    try:
        config: Dict[str, Any] = json.loads((files / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError("config.json cannot be read: %s" % error) from error
    if config.get("model_type") != "esm" or config.get("position_embedding_type") != "rotary":
        raise LoadError(
            "config.json is not that of an ESM-2 (model_type esm, position_embedding_type rotary)"
        )
    return config


def _limit(config: Mapping[str, Any]) -> int:
    """Residues that the model reads: positions, less the two that the table keeps and begin and end."""
    return max(1, int(config.get("max_position_embeddings") or 1026) - 4)
