"""Run by the Python of a model's environment: small models saved by torch.jit and torch.export, and what they answer in a
plain script. Its argument is the folder for all of it: NAME/ holds a model's files, NAME.npz inputs (in.*) and answers."""

import sys
import warnings
import zipfile
from pathlib import Path
from typing import Dict, Optional, Tuple

import numpy as np
import torch

warnings.simplefilter("ignore")
out = Path(sys.argv[1])
torch.manual_seed(0)
rng = np.random.default_rng(0)
Dim = torch.export.Dim


class Pair(torch.nn.Module):
    """Two inputs, a tuple of two outputs."""

    def __init__(self):
        super().__init__()
        self.linear, self.embedding = torch.nn.Linear(4, 3), torch.nn.Embedding(5, 3)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        y = self.linear(x) + self.embedding(ids)
        return y, y.softmax(-1)


class Named(torch.nn.Module):
    """A dictionary of outputs, a number with a default, an input that may be left out."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(
        self, x: torch.Tensor, scale: float = 1.0, mask: Optional[torch.Tensor] = None
    ) -> Dict[str, torch.Tensor]:
        y = self.linear(x) * scale
        if mask is not None:
            y = y * mask
        return {"y": y, "p": y.softmax(-1)}


class Picture(torch.nn.Module):
    """Of any size within bounds; what it gives is nested."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        )

    def forward(self, image, *, weight):
        held = self.layers(image) * weight[:, :, None, None]
        return {"mean": held.mean((2, 3)), "parts": [held, (held.amax((1, 2, 3)),)]}


class Sequence(torch.nn.Module):
    """Its first axis is time: rows are not apart."""

    def __init__(self):
        super().__init__()
        self.cell = torch.nn.GRU(4, 3)

    def forward(self, x):
        return self.cell(x)[0]


class Lengths(torch.nn.Module):
    """Two inputs whose lengths have to agree."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 6)

    def forward(self, ids, mask):
        held = self.embedding(ids) * mask[..., None]
        return held.sum(1) / mask.sum(1, keepdim=True)


def tensor(*shape):
    return torch.from_numpy(rng.standard_normal(shape).astype("f"))


def numbers(high, *shape):
    return torch.from_numpy(rng.integers(0, high, shape))


def keep(name, inputs, answers):
    """What the model answers these inputs with; both by name."""
    (out / name).mkdir(exist_ok=True)
    held = {f"in.{key}": value for key, value in inputs.items()} | answers
    arrays = {
        key: (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
        for key, value in held.items()
    }
    np.savez(out / f"{name}.npz", **arrays)


def export(name, model, inputs, answers, dims, kwargs=None):
    model.eval()
    program = torch.export.export(model, tuple(inputs.values()), kwargs or {}, dynamic_shapes=dims)
    keep(name, inputs | (kwargs or {}), answers)
    torch.export.save(program, out / name / "model.pt2")
    return program


with torch.no_grad():
    pair, x, ids = Pair().eval(), tensor(6, 4), numbers(5, 6)
    y, p = pair(x, ids)
    both = {"output_0": y, "output_1": p}
    keep("traced", {"x": x, "ids": ids}, both)
    torch.jit.trace(pair, (x[:2], ids[:2])).save(out / "traced" / "model.pt")
    batch = Dim("batch", max=64)
    pair_program = export("pair", pair, {"x": x, "ids": ids}, both, ({0: batch}, {0: batch}))

    from torch._export.serde.serialize import SCHEMA_VERSION, serialize

    keep("old", {"x": x, "ids": ids}, both)
    artifact = serialize(pair_program)
    with zipfile.ZipFile(out / "old" / "model.pt2", "w") as archive:  # as PyTorch 2.7 writes it
        archive.writestr("serialized_exported_program.json", artifact.exported_program)
        archive.writestr("serialized_state_dict.pt", artifact.state_dict)
        archive.writestr("serialized_constants.pt", artifact.constants)
        archive.writestr("serialized_example_inputs.pt", artifact.example_inputs)
        archive.writestr("version", ".".join(map(str, SCHEMA_VERSION)))

    named = Named().eval()
    keep("scripted", {"x": x}, named(x))
    mask = (tensor(6, 3) > 0).float()
    np.savez(
        out / "masked.npz", mask=mask.numpy(), **{k: v.numpy() for k, v in named(x, 2.0, mask).items()}
    )
    torch.jit.script(named).save(out / "scripted" / "model.pt")

    picture, image, weight = Picture().eval(), tensor(3, 3, 20, 16), tensor(3, 4)
    answer = picture(image, weight=weight)
    told = {"mean": answer["mean"], "parts_0": answer["parts"][0], "parts_1_0": answer["parts"][1][0]}
    dims = {"image": {0: Dim("n"), 2: Dim("height", min=8, max=64)}, "weight": {0: Dim("n")}}
    export("picture", picture, {"image": image}, told, dims, {"weight": weight})

    sequence, steps = Sequence().eval(), tensor(7, 2, 4)
    keep("sequence", {"x": steps}, {"output": sequence(steps)})
    torch.jit.trace(sequence, (steps,)).save(out / "sequence" / "model.pt")

    lengths, words, attended = Lengths().eval(), numbers(50, 3, 5), (numbers(2, 3, 5) + 0.5).float()
    axes = {0: Dim("n"), 1: Dim("length")}
    export(
        "lengths",
        lengths,
        {"ids": words, "mask": attended},
        {"output": lengths(words, attended)},
        (axes, axes),
    )

    half = torch.nn.Linear(4, 3).eval().to(torch.bfloat16)
    brief = x.to(torch.bfloat16)
    export("bfloat16", half, {"input": brief}, {"output": half(brief)}, ({0: Dim("n")},))
    one = torch.nn.Linear(4, 3).eval()
    export("single", one, {"input": x[:1]}, {"output": one(x[:1])}, None)
    export("fixed", one, {"input": x[:2]}, {"output": one(x[:2])}, None)
    export("three", one, {"input": x}, {"output": one(x)}, ({0: Dim("n", min=3, max=8)},))
    torch.save(one.state_dict(), out / "checkpoint.pt")
