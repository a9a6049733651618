"""The limit: one of our adapters by itself in a process, its items sorted by length, for several token budgets.

Arguments: the model's folder, and a folder with asked.json {"adapter", "options", "input", "output",
"texts", "tokens", "budgets", "seconds" for each}; reference.npy (the embeddings, each computed alone) is
written beside it. Prints JSON: {budget: useful tokens a second}; the budget 1 is one by one.
"""

import importlib
import json
import sys
import time
from pathlib import Path

import numpy as np

from modelyard_executor.adapter import Item
from modelyard_executor.tensor import Tensor

files, work = Path(sys.argv[1]), Path(sys.argv[2])
asked = json.loads((work / "asked.json").read_text())
adapter = importlib.import_module(f"modelyard_executor.adapters.{asked['adapter']}").Adapter()
adapter.load(files, "cpu", asked["options"])
texts, tokens = asked["texts"], asked["tokens"]


def item(text: str) -> Item:
    raw = text.encode()
    return Item({asked["input"]: Tensor("BYTES", (1,), len(raw).to_bytes(4, "little") + raw)})


def predict(chosen: list) -> list:
    """A batch as the executor's loop gives it to an adapter; items are new, nothing is kept from before."""
    batch = [item(texts[index]) for index in chosen]
    if hasattr(adapter, "prepare"):
        for each, prepared in zip(batch, adapter.prepare(batch), strict=True):
            each.prepared = prepared
    return list(adapter.predict(batch))


def batches(budget: int) -> list:
    found, current = [], []
    for index in sorted(range(len(texts)), key=tokens.__getitem__):
        if current and (len(current) + 1) * tokens[index] > budget:
            found.append(current)
            current = []
        current.append(index)
    return [*found, current]


answers = [predict([index])[0][asked["output"]].numpy().ravel() for index in range(len(texts))]
np.save(work / "reference.npy", np.stack(answers))

rates = {}
for budget in asked["budgets"]:
    cut = batches(budget)
    # Steps through the sorted batches that reach all of them: any part is a fair sample of the lengths.
    step = next(prime for prime in (97, 89, 83, 79, 73) if len(cut) % prime)
    predict(cut[-1])
    done, started, at = 0, time.perf_counter(), 0
    while time.perf_counter() < started + asked["seconds"]:
        chosen = cut[at % len(cut)]
        predict(chosen)
        done += sum(tokens[index] for index in chosen)
        at += step
    rates[str(budget)] = done / (time.perf_counter() - started)
print(json.dumps(rates))
