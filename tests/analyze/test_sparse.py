"""Only headers are read: 10 GB of weights are described in a second, with little memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.analyze import analyze
from modelyard.core.files import Files
from modelyard.store.files import FolderFiles
from support.sparse import gguf_file, safetensors_folder

SIZE = 10 * 2**30
MOST_READ = 16 * 2**20

ALONE = """
import json, resource, sys, time
from pathlib import Path
from modelyard.analyze import analyze
from modelyard.store.files import FolderFiles
before = resource.getrusage(resource.RUSAGE_SELF)
found = analyze(FolderFiles(Path(sys.argv[1])))
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
# Not ru_maxrss, which begins with what the process that started this one took.
lines = Path("/proc/self/status").read_text().splitlines()
memory = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
print(json.dumps({"cpu": cpu, "memory": memory, "parameters": found.parameters}))
"""


class Counting:
    """Files that count what is read of them."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.bytes_read = 0
        self.paths = files.paths

    def size(self, path: str) -> int:
        return self._files.size(path)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        data = self._files.read(path, offset, length)
        self.bytes_read += len(data)
        return data


@pytest.mark.parametrize(
    ("make", "precision", "spdx"),
    [
        (lambda folder: safetensors_folder(folder / "llama", SIZE), "bfloat16", None),
        (lambda folder: gguf_file(folder / "llama.gguf", SIZE), "Q4_K_M", "LicenseRef-llama3"),
    ],
    ids=["safetensors", "GGUF"],
)
def test_ten_gigabytes_are_described_by_their_header(
    tmp_path: Path, make: Callable[[Path], Path], precision: str, spdx: str | None
) -> None:
    place = make(tmp_path)
    files = Counting(FolderFiles(place))
    found = analyze(files)
    assert found.size_bytes >= SIZE
    assert files.bytes_read < MOST_READ
    assert (found.precision, found.context_length) == (precision, 8192)
    assert found.parameters is not None and 8.0e9 < found.parameters < 8.1e9
    # Llama 3 8B: 8.03e9 weights, of which the 0.53e9 of the table of words are looked up and not multiplied with.
    assert found.flops is not None
    assert found.flops.unit == "token"
    assert abs(found.flops.value / (2 * 7.5048e9) - 1) < 0.001
    assert (found.licence.spdx if found.licence else None) == spdx
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(place)], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["parameters"] == found.parameters
    # The processor's time: how long it waits for its turn on a busy machine says nothing about it.
    assert told["cpu"] <= 1.0
    assert told["memory"] <= 100_000_000
