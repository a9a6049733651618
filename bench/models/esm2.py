"""ESM-2 of the published sizes with weights drawn at random (speed does not depend on them), and proteins."""

import json
import random
from pathlib import Path

import numpy as np

from bench.lengths import lognormal
from bench.load.question import Question, post_json
from bench.models import exporter
from bench.models.alone import Alone, alone
from bench.peers.peer import CACHE
from modelyard.core.deployment import ServingOptions
from modelyard.core.routes import ExecutorSpec, Pool

COUNT, MEDIAN, P95, MOST = 500, 300, 900, 1_022  # residues
BUDGETS = (1, 512, 1024, 2048)
# How often the twenty residues occur in UniProt, in percent.
_AMINO = dict(
    zip(
        "ALGVESIKRDTPNQFYMHCW",
        (
            8.3,
            9.6,
            7.1,
            6.9,
            6.7,
            6.6,
            5.9,
            5.8,
            5.5,
            5.5,
            5.4,
            4.7,
            4.1,
            3.9,
            3.9,
            2.9,
            2.4,
            2.3,
            1.4,
            1.1,
        ),
        strict=True,
    )
)


def folder(size: str) -> Path:
    """The files of "8M" or "35M", as transformers saves them."""
    from support.models import ESM2_SIZES, esm2_folder

    path = CACHE / "models" / f"esm2-{size}"
    if not (path / "made").is_file():
        esm2_folder(path, *ESM2_SIZES[size])
        (path / "made").touch()
    return path


def proteins(count: int = COUNT, seed: int = 0) -> tuple[list[str], list[int]]:
    """Sequences of lognormal length, and their residues."""
    chance = random.Random(seed)
    lengths = lognormal(count, median=MEDIAN, p95=P95, seed=seed, most=MOST, least=20)
    letters, weights = list(_AMINO), list(_AMINO.values())
    return ["".join(chance.choices(letters, weights, k=length)) for length in lengths], lengths


def pool(size: str) -> Pool:
    return Pool(
        deployment="esm2-1",
        endpoint="esm2",
        model="esm2",
        version=1,
        digest="0" * 64,
        executor=ExecutorSpec(
            python=exporter.python(), adapter="esm2", files=str(folder(size)), options={}
        ),
        serving=ServingOptions(timeout=300.0, max_queue=4096),
    )


def in_process(size: str, seconds: float, count: int = COUNT) -> Alone:
    """The limit and the right answers for the first ``count`` proteins."""
    sequences, lengths = proteins(count)
    return alone(
        exporter.python(), folder(size), adapter="esm2", options={}, input="sequence", output="embedding",
        texts=sequences, tokens=lengths, budgets=BUDGETS, seconds=seconds,
    )  # fmt: skip


def single(sequence: str, length: int, wanted: np.ndarray) -> Question:
    """One sequence to `/predict`, the seed's own request."""
    body = {"sequence": sequence, "include_embeddings": True}
    return Question(
        post_json("/predict", body), lambda answer: _right(json.loads(answer), wanted), weight=float(length)
    )


def batch(sequences: list[str], lengths: list[int], wanted: np.ndarray) -> Question:
    """Many sequences to `/predict/batch`; right when every embedding is, in order."""
    body = {"sequences": sequences, "include_embeddings": True}

    def right(answer: bytes) -> bool:
        told = json.loads(answer)
        found = told.get("predictions", told.get("results", []))
        return len(found) == len(wanted) and all(
            _right(one, row) for one, row in zip(found, wanted, strict=True)
        )

    return Question(post_json("/predict/batch", body), right, weight=float(sum(lengths)))


def _right(answer: dict[str, object], wanted: np.ndarray) -> bool:
    """Whether the embedding points where the reference does (cosine ≥ 0.999)."""
    found = np.array(answer.get("embedding", answer.get("embeddings")), "f4").ravel()
    if found.shape != wanted.shape:
        return False
    return float(found @ wanted) >= 0.999 * float(np.linalg.norm(found) * np.linalg.norm(wanted))
