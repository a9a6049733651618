"""ESM-2 650M on a CUDA device: our adapter behind the node's scheduler, the window's method, the limit.

Runs where there are PyTorch and transformers only, with Modelyard's `src` on PYTHONPATH. All in one process:
what is compared is how batches are made and computed, not the way through a server. Tokens are residues and
the two ends. Prints JSON as its last line.

    ours    2,048 sequences wait, and as one is answered another comes; `policy.scheduler` makes the batches,
            `adapters.esm2` computes them (unpadded attention where the device has it)
    sorted  the same adapter, all sequences sorted, 64 k tokens a batch
    window  64 at a time as they come, padded to the longest, transformers' own model with its fastest attention
    limit   matrix products of the model at the rate of a large bfloat16 product of this device
"""

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers

from modelyard.policy.latency import LatencyModel
from modelyard.policy.scheduler import Limits, Scheduler
from modelyard.policy.work import Entry
from modelyard.policy.work import measure as cost_of
from modelyard_executor.adapter import Item
from modelyard_executor.adapters.esm2 import Adapter
from modelyard_executor.adapters.esm2_alphabet import VOCABULARY
from modelyard_executor.tensor import Tensor

LAYERS, WIDTH, HEADS = 33, 1280, 20
MEDIAN, P95, MOST = 300, 900, 1_022
WAITING = 2_048


def proteins(count: int) -> list[str]:
    chance = random.Random(0)
    sigma = math.log(P95 / MEDIAN) / 1.6448536
    lengths = [
        min(MOST, max(20, round(chance.lognormvariate(math.log(MEDIAN), sigma)))) for _ in range(count)
    ]
    return ["".join(chance.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in lengths]


def save(folder: Path) -> None:
    """The model as transformers saves it, weights at random."""
    config = transformers.EsmConfig(
        vocab_size=len(VOCABULARY), mask_token_id=VOCABULARY.index("<mask>"), pad_token_id=VOCABULARY.index("<pad>"),
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=4 * WIDTH,
        max_position_embeddings=1026, position_embedding_type="rotary", token_dropout=True,
        emb_layer_norm_before=False, layer_norm_eps=1e-5, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.EsmForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))


def item(sequence: str) -> Item:
    raw = sequence.encode()
    return Item({"sequence": Tensor("BYTES", (1,), len(raw).to_bytes(4, "little") + raw)})


def predict(adapter: Adapter, sequences: list[str]) -> None:
    batch = [item(sequence) for sequence in sequences]
    for each, prepared in zip(batch, adapter.prepare(batch), strict=True):
        each.prepared = prepared
    adapter.predict(batch)


class Waiting(Entry):
    """A sequence in the queue."""

    __slots__ = ("sequence",)

    def __init__(self, sequence: str, deadline: float) -> None:
        super().__init__(1, deadline, length=len(sequence) + 2)
        self.sequence = sequence


def ours(adapter: Adapter, sequences: list[str], seconds: float, model: LatencyModel) -> float:
    """Useful tokens a second; ``model`` keeps what was learnt in earlier rounds."""
    shape = adapter.cost()["shape"]
    scheduler: Scheduler[Waiting] = Scheduler(Limits(batch=4096, queue=100_000, cost=131_072), shape)
    coming, waiting, done = 0, 0, 0
    started = now = time.perf_counter()
    while now < started + seconds:
        while waiting < WAITING:
            entry = Waiting(sequences[coming % len(sequences)], now + 1e6)
            if scheduler.submit(entry, now) is not None:
                raise RuntimeError("the scheduler refused an entry although its queue has room")
            coming, waiting = coming + 1, waiting + 1
        batch = scheduler.next_batch(now, model)
        predict(adapter, [entry.sequence for entry in batch])
        end = time.perf_counter()
        cost = cost_of(shape, batch)
        model.observe(cost.padded, cost.squares, cost.useful, end - now)
        scheduler.computed(cost.padded)
        scheduler.speed = model.speed
        for entry in batch:
            entry.done = True
            done += entry.length
        waiting -= len(batch)
        now = end
    return done / (now - started)


def offline(adapter: Adapter, sequences: list[str], seconds: float) -> float:
    ordered = sorted(sequences, key=len)
    batches: list[list[str]] = [[]]
    for sequence in ordered:
        if sum(len(one) + 2 for one in batches[-1]) + len(sequence) + 2 > 65_536:
            batches.append([])
        batches[-1].append(sequence)
    return _timed(lambda at: batches[at % len(batches)], lambda batch: predict(adapter, batch), seconds)


def window(model: torch.nn.Module, tokenizer, sequences: list[str], seconds: float) -> float:
    def compute(batch: list[str]) -> None:
        told = tokenizer(batch, return_tensors="pt", padding=True).to("cuda")
        with torch.inference_mode():
            hidden = model(**told).last_hidden_state.float()
            mask = told["attention_mask"][:, :, None]
            ((hidden * mask).sum(1) / mask.sum(1)).cpu()

    def take(at: int) -> list[str]:
        start = at * 64 % (len(sequences) - 64)
        return sequences[start : start + 64]

    return _timed(take, compute, seconds)


def _timed(take, compute, seconds: float) -> float:
    done, at, started = 0, 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        batch = take(at)
        compute(batch)
        done += sum(len(sequence) + 2 for sequence in batch)
        at += 1
    return done / (time.perf_counter() - started)


def matrix_rate(seconds: float = 2.0, size: int = 8192) -> float:
    """FLOP a second of a large bfloat16 product."""
    left = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    right = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    for _ in range(10):
        left @ right
    torch.cuda.synchronize()
    products, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        for _ in range(10):
            left @ right
        torch.cuda.synchronize()
        products += 10
    return products * 2 * size**3 / (time.perf_counter() - started)


def flops_a_token(sequences: list[str]) -> float:
    """Of the layers' matrix products, and of attention over each sequence's own length."""
    linear = LAYERS * 2 * 12 * WIDTH * WIDTH
    lengths = [len(sequence) + 2 for sequence in sequences]
    attention = LAYERS * 4 * WIDTH * sum(length * length for length in lengths) / sum(lengths)
    return linear + attention


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA device")
    sequences = proteins(20_000)
    found: dict[str, list[float]] = {"ours": [], "sorted": [], "window": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save(folder)
        adapter = Adapter()
        adapter.load(folder, "cuda:0", {"threads": 4, "trusted": False, "precision": "bfloat16"})
        tokenizer = transformers.EsmTokenizer(str(folder / "vocab.txt"))
        model = transformers.EsmModel.from_pretrained(
            folder, add_pooling_layer=False, torch_dtype=torch.bfloat16, attn_implementation="sdpa"
        ).to("cuda").eval()  # fmt: skip
        learnt = LatencyModel()
        ours(adapter, sequences, 3.0, learnt)
        offline(adapter, sequences, 3.0)
        window(model, tokenizer, sequences, 3.0)
        for _ in range(asked.rounds):
            found["ours"].append(ours(adapter, sequences, asked.seconds, learnt))
            found["sorted"].append(offline(adapter, sequences, asked.seconds))
            found["window"].append(window(model, tokenizer, sequences, asked.seconds))
    rate = matrix_rate()
    result = {name: statistics.median(values) for name, values in found.items()}
    print(
        json.dumps(
            {
                **result,
                "runs": found,
                "device": torch.cuda.get_device_name(),
                "torch": torch.__version__,
                "tflops": rate / 1e12,
                "limit": rate / flops_a_token(sequences),
                "law": [learnt.a, learnt.b, learnt.c],
            }
        )
    )


if __name__ == "__main__":
    main()
