"""Chai-1: its FASTA out of sequences and a ligand, one run of `chai fold`, the best of its samples.

Arguments and files as in chai_lab 0.5.2 (main.py, chai1.py); alignments of a server are not asked for.

python predict.py RECORD DEVICE
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

AMINO = "ACDEFGHIKLMNPQRSTVWYX"
SCORE = re.compile(r"Score=(-?[\d.]+|nan), writing output to .*pred\.model_idx_(\d+)\.cif")


def chains(sequence):
    """The chains of ``sequence``. Raises ValueError with the position of what is no amino acid."""
    found = sequence.strip().upper().split(":")
    for number, chain in enumerate(found, 1):
        plain = re.sub(r"\([A-Z0-9]{2,}\)", lambda match: "X" * len(match[0]), chain)
        if not chain:
            raise ValueError(f"sequence: chain {number} is empty.")
        for position, letter in enumerate(plain):
            if letter not in AMINO:
                raise ValueError(
                    f"sequence: chain {number}[{position}]: {letter!r} is no amino acid ({AMINO})."
                )
    return found


def fasta(record):
    """What is folded, in Chai's own form. Raises ValueError for what it cannot be."""
    if record.get("fasta"):
        if record.get("sequence") or record.get("ligand"):
            raise ValueError("Give a fasta, or a sequence with a ligand, not both.")
        return record["fasta"]
    if not record.get("sequence"):
        raise ValueError("Give a sequence, or a fasta.")
    lines = []
    for number, chain in enumerate(chains(record["sequence"]), 1):
        lines += [f">protein|name=chain-{number}", chain]
    ligand = (record.get("ligand") or "").strip()
    if ligand:
        if len(ligand.split()) > 1:
            raise ValueError("ligand: it is one SMILES, without spaces.")
        lines += [">ligand|name=ligand", ligand]
    return "\n".join(lines) + "\n"


def plan(record, device):
    """The files that are written, and the arguments of the program."""
    files = {"input.fasta": fasta(record)}
    arguments = [
        "chai", "fold", "input.fasta", "out", "--num-trunk-recycles", str(record["recycles"]),
        "--num-diffn-timesteps", str(record["timesteps"]), "--num-diffn-samples", str(record["samples"]),
        "--use-esm-embeddings" if record["language_model"] else "--no-use-esm-embeddings",
        "--no-use-msa-server", "--device", device,
    ]  # fmt: skip
    if record.get("seed") is not None:
        arguments += ["--seed", str(record["seed"])]
    if record.get("restraints"):
        files["restraints.csv"] = record["restraints"]
        arguments += ["--constraint-path", "restraints.csv"]
    return files, arguments


def best(printed):
    """The scores by sample, and the number of the best, out of what it printed."""
    scores = {int(number): float(score) for score, number in SCORE.findall(printed)}
    if not scores:
        raise RuntimeError("Chai wrote no structure.")
    return scores, max(scores, key=lambda number: (scores[number] == scores[number], scores[number]))


def plain(score):
    """JSON has no number for what is none."""
    return score if score == score else None


def main(record, device):
    files, arguments = plan(json.loads(Path(record).read_text()), device)
    if shutil.which(arguments[0]) is None:
        raise FileNotFoundError("There is no program chai on this machine: pip install chai_lab==0.5.2.")
    for path, text in files.items():
        Path(path).write_text(text)
    printed = []
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
    if process.returncode:
        sys.exit(1)
    scores, number = best("".join(printed))
    Path("structure.cif").write_bytes(Path(f"out/pred.model_idx_{number}.cif").read_bytes())
    Path("scores.json").write_text(
        json.dumps({"answered": number, "scores": [plain(scores[each]) for each in sorted(scores)]})
    )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:  # the input is at fault: wrong_input in model.yaml
        sys.exit(print(error, file=sys.stderr) or 2)
    except OSError as error:
        sys.exit(str(error))
