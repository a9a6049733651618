"""How long does it take to say what 10 GB of weights are? `modelyard analyze`, headers alone.

Files with real headers (as Llama 3 8B has them: 291 tensors, a vocabulary of 128,256 words, 280,147 merges) and holes for
the numbers, so that they take no room: one model.safetensors in a transformers folder, one GGUF. A process for each
try: the analysis itself, the most memory that the process took, and the whole command.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.plan import Plan
from bench.results import Table, Verdict, at_most
from bench.statistics import median

SIZE = 10 * 2**30
KINDS = ("safetensors", "GGUF")

_OURS = """
import json, sys, time
from pathlib import Path
from modelyard.analyze import analyze
from modelyard.store.files import FolderFiles


class Counting:
    def __init__(self, files):
        self.inner, self.paths, self.read_bytes = files, files.paths, 0

    def size(self, path):
        return self.inner.size(path)

    def read(self, path, offset=0, length=None):
        data = self.inner.read(path, offset, length)
        self.read_bytes += len(data)
        return data


started = time.perf_counter()
files = Counting(FolderFiles(Path(sys.argv[1])))
found = analyze(files)
seconds = time.perf_counter() - started
lines = Path("/proc/self/status").read_text().splitlines()
memory = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
told = {"seconds": seconds, "memory": memory, "read": files.read_bytes, "parameters": found.parameters}
print(json.dumps(told))
"""


def seconds(plan: Plan) -> float:
    return plan.count(10, 2) * 2 * 2.5


def measure(plan: Plan) -> dict[str, Any]:
    """Ten tries of each kind, in turns."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.sparse import gguf_file, safetensors_folder

    modelyard = str(Path(sys.executable).with_name("modelyard"))
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        places = {
            "safetensors": safetensors_folder(Path(folder) / "llama", SIZE),
            "GGUF": gguf_file(Path(folder) / "llama.gguf", SIZE),
        }
        sizes = {kind: _bytes(place) for kind, place in places.items()}
        for _ in range(plan.count(10, 2)):
            for kind, place in places.items():
                done = subprocess.run(
                    [sys.executable, "-c", _OURS, str(place)], capture_output=True, text=True, check=True
                )
                for what, value in json.loads(done.stdout).items():
                    found[kind].setdefault(what, []).append(value)
                started = time.perf_counter()
                subprocess.run(
                    [modelyard, "analyze", str(place), "--json"], stdout=subprocess.DEVNULL, check=True
                )
                found[kind].setdefault("command", []).append(time.perf_counter() - started)
    return {"found": found, "bytes": sizes}


def _bytes(place: Path) -> int:
    paths = [place] if place.is_file() else list(place.iterdir())
    return sum(path.stat().st_size for path in paths)


def tables(result: dict[str, Any]) -> list[Table]:
    rows = [
        (
            kind,
            f"{result['bytes'][kind] / 1e9:.1f} GB",
            f"{median(told['parameters']) / 1e9:.2f}",
            f"{median(told['read']) / 1e6:.2f} MB",
            f"{median(told['seconds']) * 1e3:.0f} ms",
            f"{max(told['seconds']) * 1e3:.0f} ms",
            f"{max(told['memory']) / 1e6:.0f} MB",
            f"{median(told['command']) * 1e3:.0f} ms",
        )
        for kind, told in result["found"].items()
    ]
    header = (
        "",
        "size",
        "weights, 10⁹",
        "read",
        "analysis",
        "the longest",
        "memory at most",
        "`modelyard analyze`",
    )
    return [Table("", header, rows)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    longest = max(max(told["seconds"]) for told in result["found"].values())
    memory = max(max(told["memory"]) for told in result["found"].values())
    return [
        at_most("10 GB of safetensors or GGUF are analysed in ≤ 1 s", longest, 1.0, " s"),
        at_most("with ≤ 100 MB of memory", memory / 1e6, 100, " MB", 0),
    ]
