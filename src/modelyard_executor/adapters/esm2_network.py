"""The network of ESM-2 in PyTorch, without padding: the tokens of all sequences lie one after the other.

Linear layers see one matrix [tokens, width]; only attention knows where a sequence begins. So a batch
costs the sum of its lengths (and of their squares, in attention), whatever lengths it mixes. The
arithmetic is that of ``EsmForMaskedLM`` of transformers
(https://github.com/huggingface/transformers/blob/main/src/transformers/models/esm/modeling_esm.py),
whose names of weights are read from safetensors; it follows Lin et al. 2023, doi:10.1126/science.ade2574.
"""

import json
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

from ..adapter import LoadError

_TRAINED_UNMASKED = 1 - 0.15 * 0.8  # of the tokens, in all training runs of ESM (token dropout)


class Packed:
    """Sequences of one computation: ids [tokens], lengths [sequences] in tokens, and where each begins."""

    def __init__(self, ids: Any, lengths: Sequence[int], torch: Any) -> None:
        self.ids = ids
        self.lengths = list(lengths)
        self.longest = max(self.lengths)
        counts = torch.tensor(self.lengths, device=ids.device)
        self.offsets = torch.zeros(len(self.lengths) + 1, dtype=torch.int32, device=ids.device)
        self.offsets[1:] = counts.cumsum(0)
        self.counts = counts
        self.rows = torch.repeat_interleave(torch.arange(len(self.lengths), device=ids.device), counts)
        self.positions = torch.arange(len(ids), device=ids.device) - self.offsets[self.rows]


class Network:
    """The weights, and what is computed with them. ``layers``, ``width``, ``heads`` are the model's."""

    def __init__(self, folder: Path, config: Mapping[str, Any], device: str, precision: str) -> None:
        """Raises LoadError for weights that are missing, of another shape, or no ESM-2's."""
        import torch

        self.torch = torch
        self.layers = int(config["num_hidden_layers"])
        self.width = int(config["hidden_size"])
        self.heads = int(config["num_attention_heads"])
        self.vocabulary = int(config["vocab_size"])
        self._inner = int(config["intermediate_size"])
        self._base = float(config.get("rope_theta") or 10000.0)
        self._epsilon = float(config.get("layer_norm_eps", 1e-5))
        self._token_dropout = bool(config.get("token_dropout", False))
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise LoadError(
                "a width of %d cannot be shared by %d heads of even size" % (self.width, self.heads)
            )
        self._head = self.width // self.heads
        self.device = torch.device(device)
        self._dtype = getattr(torch, precision)
        held = _read_weights(folder)
        prefix = "esm." if "esm.embeddings.word_embeddings.weight" in held else ""
        self._weights = held
        self._words = self._take(prefix + "embeddings.word_embeddings.weight", self.vocabulary, self.width)
        self._before = (
            self._norm(prefix + "embeddings.layer_norm") if config.get("emb_layer_norm_before") else None
        )
        self._layers = [
            self._layer("%sencoder.layer.%d." % (prefix, number)) for number in range(self.layers)
        ]
        self._after = self._norm(prefix + "encoder.emb_layer_norm_after")
        self._head_weights = self._lm_head()
        self._regression = None
        if prefix + "contact_head.regression.weight" in held:
            name = prefix + "contact_head.regression"
            channels = self.layers * self.heads
            self._regression = (
                self._take(name + ".weight", 1, channels).float(),
                self._take(name + ".bias", 1).float(),
            )
        self._weights = {}
        self._cosines = self._sines = torch.empty(0, device=self.device)
        self._varlen = _varlen(torch) if self.device.type == "cuda" and precision != "float32" else None

    # --- loading

    def _take(self, name: str, *shape: int) -> Any:
        tensor = self._weights.get(name)
        if tensor is None:
            raise LoadError("the weights have no %s" % name)
        if tuple(tensor.shape) != shape:
            raise LoadError(
                "%s has shape %s; config.json says %s" % (name, list(tensor.shape), list(shape))
            )
        return tensor.to(self.device, self._dtype)

    def _linear(self, name: str, outputs: int, inputs: int) -> Any:
        return self._take(name + ".weight", outputs, inputs), self._take(name + ".bias", outputs)

    def _norm(self, name: str) -> Any:
        # transformers 5 saves the norms of an EsmModel under the names of old: gamma and beta.
        scale, shift = ("gamma", "beta") if name + ".gamma" in self._weights else ("weight", "bias")
        return self._take("%s.%s" % (name, scale), self.width), self._take(
            "%s.%s" % (name, shift), self.width
        )

    def _layer(self, name: str) -> Dict[str, Any]:
        width, torch = self.width, self.torch
        parts = [
            self._linear(name + "attention.self." + part, width, width)
            for part in ("query", "key", "value")
        ]
        return {
            "norm": self._norm(name + "attention.LayerNorm"),
            # One product for the three is faster than three.
            "qkv": (torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])),
            "out": self._linear(name + "attention.output.dense", width, width),
            "second_norm": self._norm(name + "LayerNorm"),
            "up": self._linear(name + "intermediate.dense", self._inner, width),
            "down": self._linear(name + "output.dense", width, self._inner),
        }

    def _lm_head(self) -> Optional[Dict[str, Any]]:
        if "lm_head.dense.weight" not in self._weights:
            return None
        tied = "lm_head.decoder.weight" not in self._weights
        return {
            "dense": self._linear("lm_head.dense", self.width, self.width),
            "norm": self._norm("lm_head.layer_norm"),
            "decoder": (
                self._words if tied else self._take("lm_head.decoder.weight", self.vocabulary, self.width),
                self._take("lm_head.bias", self.vocabulary),
            ),
        }

    @property
    def has_language_head(self) -> bool:
        return self._head_weights is not None

    @property
    def has_contact_head(self) -> bool:
        return self._regression is not None

    # --- computing

    def pack(self, sequences: Sequence[bytes]) -> Packed:
        """Tokens, one byte each, as what the network reads."""
        torch = self.torch
        ids = torch.frombuffer(bytearray(b"".join(sequences)), dtype=torch.uint8)
        return Packed(ids.to(self.device).long(), [len(each) for each in sequences], torch)

    def hidden(
        self, packed: Packed, wanted: Iterable[int], mask: int, contacts: Optional[List[Any]] = None
    ) -> Dict[int, Any]:
        """Hidden states [tokens, width] after each of the ``wanted`` layers (0: the embedding).

        The last layer's are normalised, as transformers gives them. ``mask`` is the id of <mask>. Into
        ``contacts`` goes, per sequence, a matrix [residues, residues] of FP32 probabilities.
        """
        wanted = set(wanted)
        last = self.layers if contacts is not None else max(wanted)
        found: Dict[int, Any] = {}
        state = self._embedded(packed, mask)
        cosines, sines = self._rotation(packed)
        sums: Optional[List[Any]] = None if contacts is None else [0.0] * len(packed.lengths)
        if 0 in wanted:
            found[0] = state
        for number, layer in enumerate(self._layers[:last], 1):
            state = self._through(layer, state, packed, cosines, sines, number - 1, sums)
            if number in wanted:
                found[number] = self._normed(state, self._after) if number == self.layers else state
        if sums is not None and contacts is not None:
            assert self._regression is not None
            contacts.extend((each + self._regression[1]).sigmoid() for each in sums)
        return found

    def logits(self, states: Any) -> Any:
        """Last hidden states [n, width] to FP32 [n, vocabulary]."""
        head, functional = self._head_weights, self.torch.nn.functional
        assert head is not None
        states = functional.gelu(functional.linear(states, *head["dense"]))
        return functional.linear(self._normed(states, head["norm"]), *head["decoder"]).float()

    def means(self, states: Any, packed: Packed) -> Any:
        """The mean over the residues of each sequence, FP32 [sequences, width]; begin and end left out."""
        torch = self.torch
        inner = (packed.positions > 0) & (packed.positions < packed.counts[packed.rows] - 1)
        weights = inner / (packed.counts - 2)[packed.rows]
        result = torch.zeros(len(packed.lengths), self.width, device=states.device)
        return result.index_add_(0, packed.rows, states.float() * weights[:, None])

    def _embedded(self, packed: Packed, mask: int) -> Any:
        torch = self.torch
        state = self._words[packed.ids]
        if self._token_dropout:
            masked = packed.ids == mask
            count = torch.zeros(len(packed.lengths), device=state.device)
            count.index_add_(0, packed.rows, masked.float())
            scale = (_TRAINED_UNMASKED / (1 - count / packed.counts))[packed.rows]
            state = (state.masked_fill(masked[:, None], 0.0) * scale[:, None]).to(state.dtype)
        return state if self._before is None else self._normed(state, self._before)

    def _normed(self, state: Any, norm: Any) -> Any:
        return self.torch.nn.functional.layer_norm(state, (self.width,), *norm, self._epsilon)

    def _rotation(self, packed: Packed) -> Any:
        """Cosines and sines [tokens, 1, head size] of the rotary embedding of each token's position."""
        torch = self.torch
        if len(self._cosines) < packed.longest:
            steps = torch.arange(0, self._head, 2, device=self.device).float() / self._head
            angles = torch.outer(
                torch.arange(packed.longest, device=self.device).float(), self._base**-steps
            )
            angles = torch.cat((angles, angles), dim=1)
            self._cosines, self._sines = angles.cos(), angles.sin()
        return self._cosines[packed.positions][:, None], self._sines[packed.positions][:, None]

    def _through(
        self,
        layer: Dict[str, Any],
        state: Any,
        packed: Packed,
        cosines: Any,
        sines: Any,
        number: int,
        sums: Optional[List[Any]],
    ) -> Any:
        """One layer: attention and the two dense layers, each added to what came in."""
        functional = self.torch.nn.functional
        joined = functional.linear(self._normed(state, layer["norm"]), *layer["qkv"])
        query, key, value = joined.view(len(state), 3, self.heads, self._head).unbind(1)
        query, key = _rotate(self.torch, query, cosines, sines), _rotate(self.torch, key, cosines, sines)
        if sums is not None:
            self._add_contacts(query, key, packed, number, sums)
        attended = self._attend(query, key, value, packed).reshape(len(state), self.width)
        state = state + functional.linear(attended, *layer["out"])
        inner = functional.gelu(functional.linear(self._normed(state, layer["second_norm"]), *layer["up"]))
        return state + functional.linear(inner, *layer["down"])

    def _attend(self, query: Any, key: Any, value: Any, packed: Packed) -> Any:
        """[tokens, heads, head size] each; every token attends to those of its own sequence."""
        if self._varlen is not None:
            longest = packed.longest
            return self._varlen(query, key, value, packed.offsets, packed.offsets, longest, longest)
        torch = self.torch
        attention = torch.nn.functional.scaled_dot_product_attention
        parts, start, index = [], 0, 0
        while index < len(packed.lengths):
            # Neighbours of one length go together.
            length, count = packed.lengths[index], 1
            while index + count < len(packed.lengths) and packed.lengths[index + count] == length:
                count += 1
            place = slice(start, start + count * length)
            shape = (count, length, self.heads, self._head)
            part = attention(*(each[place].view(shape).transpose(1, 2) for each in (query, key, value)))
            parts.append(part.transpose(1, 2).reshape(count * length, self.heads, self._head))
            start, index = place.stop, index + count
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _add_contacts(self, query: Any, key: Any, packed: Packed, number: int, sums: List[Any]) -> None:
        """Add a layer's part of the logits of contacts, so that only one layer's maps are held at a time.

        As in EsmContactPredictionHead: maps made symmetric, average product corrected, weighted per head.
        """
        assert self._regression is not None
        weights = self._regression[0][0, number * self.heads : (number + 1) * self.heads]
        start = 0
        for index, length in enumerate(packed.lengths):
            place = slice(start, start + length)
            start += length
            scores = query[place].transpose(0, 1) @ key[place].permute(1, 2, 0) * self._head**-0.5
            maps = scores.float().softmax(-1)[:, 1:-1, 1:-1]
            maps = maps + maps.transpose(1, 2)
            rows = maps.sum(2, keepdim=True)
            corrected = maps - rows * maps.sum(1, keepdim=True) / maps.sum((1, 2), keepdim=True)
            sums[index] = sums[index] + self.torch.einsum("h,hij->ij", weights, corrected)


def _rotate(torch: Any, states: Any, cosines: Any, sines: Any) -> Any:
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864), computed in FP32."""
    full = states.float()
    first, second = full.chunk(2, dim=-1)
    return (full * cosines + torch.cat((-second, first), dim=-1) * sines).to(states.dtype)


def _varlen(torch: Any) -> Any:
    """Flash attention over sequences of any lengths, where this PyTorch and device have it.

    Not run so far: no CUDA device was at hand. Without it, sequences attend one after the other, which
    is what runs on the CPU.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if torch.cuda.get_device_capability()[0] >= 8 else None


def _read_weights(folder: Path) -> Dict[str, Any]:
    """All tensors of model.safetensors, or of the files that its index names; mapped, not yet read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        names = ["model.safetensors"]
    elif index.is_file():
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    else:
        raise LoadError("there is no model.safetensors among the model's files")
    held: Dict[str, Any] = {}
    for name in names:
        try:
            held.update(load_file(str(folder / name)))
        except (OSError, SafetensorError) as error:
            raise LoadError("%s cannot be read: %s" % (name, error)) from error
    return held
