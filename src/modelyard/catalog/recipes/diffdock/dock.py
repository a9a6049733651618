"""DiffDock-L for one protein and one molecule: one run of its inference.py, all poses in one file.

Flags and files as in inference.py of gcorso/DiffDock at 3995b24fcd24d4cc080e81a10f29afa566bb426c; what stands in its
config goes before what is given as flags, so the config is written anew.

python dock.py RECORD WEIGHTS
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

OURS = ("model_dir", "confidence_model_dir", "samples_per_complex", "inference_steps", "actual_steps")


def config(own, weights, record):
    """The project's default_inference_args.yaml with our values for what is ours."""
    kept = [line for line in own.splitlines() if line.split(":")[0].strip() not in OURS]
    told = {
        "model_dir": f"{weights}/workdir/v1.1/score_model",
        "confidence_model_dir": f"{weights}/workdir/v1.1/confidence_model",
        "samples_per_complex": record["samples"],
        "inference_steps": record["steps"],
        "actual_steps": max(1, record["steps"] - 1),
    }
    return "\n".join([*kept, *(f"{name}: {json.dumps(value)}" for name, value in told.items())]) + "\n"


def plan(record, weights):
    """The arguments of inference.py. Raises ValueError for a ligand that names a file."""
    ligand = record["ligand"].strip()
    if (
        not ligand
        or len(ligand.split()) > 1
        or re.search(r"\.(sdf|mol2?|pdb|pdbqt)$", ligand, re.IGNORECASE)
    ):
        raise ValueError("ligand: it is one SMILES.")
    return [
        f"{weights}/inference.py", "--config", "config.yaml", "--complex_name", "complex",
        "--protein_path", "protein.pdb", f"--ligand_description={ligand}", "--out_dir", "out",
    ]  # fmt: skip


def collect(folder):
    """All poses as one SDF, and their confidences, by rank. Raises ValueError when there is none."""
    found = []
    for path in folder.glob("rank*_confidence*.sdf"):
        match = re.fullmatch(r"rank(\d+)_confidence(-?[\d.]+|nan)\.sdf", path.name)
        if match:
            found.append((int(match[1]), float(match[2]), path.read_text()))
    if not found:
        raise ValueError("DiffDock placed nothing; what it said of the protein and the molecule is above.")
    found.sort()
    # JSON has no number for what is none.
    confidences = [value if value == value else None for _, value, _ in found]
    return "".join(text for _, _, text in found), confidences


def main(path, weights):
    record = json.loads(Path(path).read_text())
    arguments = plan(record, weights)
    if not Path(weights, "workdir/v1.1/score_model").is_dir():  # else it would be fetched
        raise FileNotFoundError("weights has no workdir/v1.1/score_model, which DiffDock needs.")
    shutil.copy(record["protein"], "protein.pdb")
    own = Path(weights, "default_inference_args.yaml").read_text()
    Path("config.yaml").write_text(config(own, weights, record))
    for table in Path(weights).glob(".*.npy"):
        Path(table.name).symlink_to(table)
    if subprocess.run([sys.executable, *arguments], check=False).returncode:
        sys.exit(1)
    poses, confidences = collect(Path("out/complex"))
    Path("poses.sdf").write_text(poses)
    Path("confidence.json").write_text(json.dumps(confidences))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:  # the input is at fault: wrong_input in model.yaml
        sys.exit(print(error, file=sys.stderr) or 2)
    except OSError as error:
        sys.exit(str(error))
