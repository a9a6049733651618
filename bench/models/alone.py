"""An adapter of ours alone in a process: the limit of a real model, and the right answers."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.cores import SERVER_CORE, on

_ROOT = Path(__file__).parents[2]


class Alone(NamedTuple):
    """``rates``: useful tokens a second by padded tokens a batch ("1": one by one); ``reference``: the
    embeddings [texts, width]."""

    rates: dict[str, float]
    reference: np.ndarray

    @property
    def limit(self) -> float:
        return max(self.rates.values())


def alone(
    python: str,
    files: Path,
    *,
    adapter: str,
    options: dict[str, object],
    input: str,
    output: str,
    texts: list[str],
    tokens: list[int],
    budgets: tuple[int, ...],
    seconds: float,
) -> Alone:
    """Measure on SERVER_CORE, ``seconds`` per budget. Raises CalledProcessError."""
    asked = {
        "adapter": adapter, "options": {**options, "threads": 1, "trusted": False}, "input": input,
        "output": output, "texts": texts, "tokens": tokens, "budgets": budgets, "seconds": seconds,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        Path(work, "asked.json").write_text(json.dumps(asked))
        program = _ROOT / "bench" / "peers" / "programs" / "in_process.py"
        done = subprocess.run(
            on(SERVER_CORE, [python, str(program), str(files), work]),
            env={"PYTHONPATH": str(_ROOT / "src"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            check=True,
            timeout=1800,
        )
        rates = json.loads(done.stdout.splitlines()[-1])
        return Alone(rates, np.load(Path(work, "reference.npy")))
