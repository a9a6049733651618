"""ColabFold without its server: one run of `colabfold_batch` on the sequence alone, or on the alignment that was sent.

Flags and files as in colabfold 1.6.3 (batch.py, download.py).

python predict.py RECORD WEIGHTS
"""

import json
import os
import sys
from pathlib import Path

AMINO = "ACDEFGHIKLMNPQRSTVWYX"
# By these files it knows that parameters need not be fetched (download.py).
FINISHED = {"ptm": "download_finished.txt", "multimer_v3": "download_complexes_multimer_v3_finished.txt"}


def sequence(text):
    """The sequence as it is folded. Raises ValueError with the position of what is no amino acid."""
    found = text.strip().upper()
    for position, letter in enumerate(found):
        if letter not in AMINO + ":":
            raise ValueError(f"sequence[{position}]: {letter!r} is no amino acid ({AMINO}).")
    if not found or "" in found.split(":"):
        raise ValueError("sequence: there is a chain without residues.")
    return found


def plan(record):
    """The files that are written, the arguments of the program, and which parameters it reads."""
    if bool(record.get("sequence")) == bool(record.get("alignment")):
        raise ValueError("Give a sequence, or an alignment.")
    if not 1 <= record["models"] <= 5:
        raise ValueError("models: there are 1 to 5.")
    if record.get("alignment"):
        # Its first line tells the chains of a complex: "#" lengths TAB copies.
        complex_ = "," in record["alignment"].split("\n", 1)[0].partition("#")[2]
        files, mode = {"model.a3m": record["alignment"]}, []
    else:
        folded = sequence(record["sequence"])
        complex_, files = ":" in folded, {"model.fasta": f">model\n{folded}\n"}
        mode = ["--msa-mode", "single_sequence"]
    kind = "multimer_v3" if complex_ else "ptm"
    arguments = [
        "colabfold_batch", *files, "out", "--data", "data", *mode, "--model-type",
        "alphafold2_multimer_v3" if complex_ else "alphafold2_ptm", "--num-models", str(record["models"]),
        "--num-recycle", str(record["recycles"]), "--random-seed", str(record["seed"]), "--skip-output", "plots",
    ]  # fmt: skip
    return files, arguments, kind


def lay(weights, kind, place):
    """The parameters in a folder as ColabFold keeps its own. Raises FileNotFoundError for those that are missing."""
    place.mkdir(parents=True)
    found = {path.name: path for path in weights.rglob(f"params_model_*_{kind}.npz")}
    if f"params_model_1_{kind}.npz" not in found:
        raise FileNotFoundError(f"weights has no params_model_1_{kind}.npz.")
    for name, path in found.items():
        (place / name).symlink_to(path)
    (place / FINISHED[kind]).touch()


def main(record, weights):
    files, arguments, kind = plan(json.loads(Path(record).read_text()))
    for path, text in files.items():
        Path(path).write_text(text)
    lay(Path(weights), kind, Path("data/params"))
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:  # the input is at fault: wrong_input in model.yaml
        sys.exit(print(error, file=sys.stderr) or 2)
    except OSError as error:
        sys.exit(str(error))
