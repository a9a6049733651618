"""What one token, residue or row costs, counted from the shapes of the weights; no number where that does not tell it.

A weight that an input is multiplied with costs a multiplication and an addition for each unit of input. Attention of
tokens to each other, activations and norms are left out: they have no weights, and grow with the length of the text.
"""

from typing import Literal

from modelyard.analyze.onnx_graph import Graph
from modelyard.analyze.safetensors import Weights
from modelyard.core.model import Flops

_HOW = "two for each weight that a {unit} is multiplied with; attention between {unit}s is not counted"
# Operators whose cost is not in the shapes of two matrices; a graph with one has no number.
_OTHERS = frozenset(
    {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "LSTM", "GRU", "RNN", "Einsum", "MatMulNBits", "Attention",
     "QAttention", "If", "Loop", "Scan", "GroupQueryAttention", "MultiHeadAttention", "TreeEnsembleRegressor",
     "TreeEnsembleClassifier", "TreeEnsemble", "SVMClassifier", "SVMRegressor", "LinearClassifier", "LinearRegressor"}
)  # fmt: skip


def per_token(
    weights: Weights, *, writes: bool, unit: Literal["token", "residue"] = "token"
) -> Flops | None:
    """Of a transformer in safetensors. ``writes``: it gives a number for each word of its vocabulary, by the table
    that words are looked up in when it has no other."""
    multiplied = weights.parameters - weights.words - weights.places
    if (
        writes
        and not any("lm_head" in name and "decoder" in name for name in weights.tensors)
        and not any(name in ("lm_head.weight", "embed_out.weight") for name in weights.tensors)
    ):
        multiplied += weights.words
    if not weights.words or multiplied <= 0:
        return None
    return Flops(value=2 * multiplied, unit=unit, how=_HOW.format(unit=unit))


def counted(multiplied: int, unit: Literal["token", "residue"] = "token") -> Flops:
    """Of a transformer of which that many weights are multiplied with."""
    return Flops(value=2 * multiplied, unit=unit, how=_HOW.format(unit=unit))


def flops_of(graph: Graph) -> Flops | None:
    """Of an ONNX graph of products with constant matrices: for each row of a table, or for each token of a text."""
    if any(name in _OTHERS for _, name in graph.operators) or not graph.products:
        return None
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    tokens = any(value.name == "input_ids" for value in inputs)
    rows = bool(inputs) and all(
        value.shape is not None
        and len(value.shape) == 2
        and isinstance(value.shape[1], int)
        and value.element in (1, 10, 11)
        for value in inputs
    )
    if not tokens and not rows:
        return None
    total = 0
    for _, names in graph.products:
        # The second of them is what is multiplied with; attention multiplies what was computed.
        shapes = [graph.matrices[name] for name in names if name in graph.matrices]
        if shapes:
            total += 2 * max(first * second for first, second in shapes)
        elif rows:
            return None  # two of its own results are multiplied, whose shapes are not told
    if not total:
        return None
    unit: Literal["token", "row"] = "token" if tokens else "row"
    how = _HOW.format(unit=unit) if tokens else "its products with constant matrices"
    return Flops(value=total, unit=unit, how=how)
