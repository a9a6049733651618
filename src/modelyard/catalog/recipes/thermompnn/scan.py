"""ThermoMPNN for one structure: its script looks for itself and its settings in the folder above the one that it is
started in, and writes into that one; so both are made here, out of links.

Arguments and files as in analysis/custom_inference.py of Kuhlman-Lab/ThermoMPNN at
acf58b776e6442643a4c54e8bcb61ec117291c11.

python scan.py WEIGHTS STRUCTURE --chain=CHAIN
"""

import json
import os
import sys
from pathlib import Path


def settings(weights):
    """local.yaml, of which a prediction reads where ProteinMPNN's weights are."""
    return (
        json.dumps({"platform": {"accel": "gpu", "cache_dir": "cache", "thermompnn_dir": weights}}) + "\n"
    )


def plan(weights, structure, chain):
    """The arguments of its script."""
    return [
        f"{weights}/analysis/custom_inference.py", "--pdb", structure, chain,
        "--model_path", f"{weights}/models/thermoMPNN_default.pt",
    ]  # fmt: skip


def main(weights, structure, chain):
    for path in Path(weights).iterdir():
        if path.name not in ("analysis", "local.yaml"):
            Path(path.name).symlink_to(path)
    Path("local.yaml").write_text(settings(weights))
    Path("analysis").mkdir()
    os.chdir("analysis")
    os.execv(sys.executable, [sys.executable, *plan(weights, structure, chain)])


if __name__ == "__main__":
    main(*sys.argv[1:])
