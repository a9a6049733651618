"""RFantibody's three steps: backbones docked to the target, sequences for their loops, a prediction of each.

Flags as in src/rfantibody/cli/inference.py and quiver.py of RosettaCommons/RFantibody at
6c301cb3a10d02be8c0ef5a18cb4c680835a1ef6 and 723ab79bf9897e04614ef1b7856e7ff5d02b7ac6.

python design.py RECORD WEIGHTS
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HOTSPOTS = re.compile(r"[A-Za-z]\d+(,[A-Za-z]\d+)*")
LOOPS = re.compile(r"[HL][123]:(\d+(-\d+)?)?(,[HL][123]:(\d+(-\d+)?)?)*")


def plan(record, weights):
    """The command lines, one after the other. Raises ValueError for what they cannot be."""
    hotspots, loops = record["hotspots"].replace(" ", ""), record["loops"].replace(" ", "")
    if not HOTSPOTS.fullmatch(hotspots):
        raise ValueError("hotspots: residues by chain and number, such as T305,T456.")
    if not LOOPS.fullmatch(loops):
        raise ValueError("loops: such as H1:7,H2:,H3:5-13.")
    same = ["--deterministic"] if record.get("deterministic") else []
    designed = ",".join(each.partition(":")[0] for each in loops.split(","))
    return [
        ["rfdiffusion", "--target", "target.pdb", "--framework", "framework.pdb", "--output-quiver", "backbones.qv",
         "--num-designs", str(record["designs"]), "--design-loops", loops, "--hotspots", hotspots,
         "--weights", f"{weights}/RFdiffusion_Ab.pt", "--diffuser-t", str(record["steps"]), "--no-trajectory", *same],
        ["proteinmpnn", "--input-quiver", "backbones.qv", "--output-quiver", "sequences.qv", "--loops", designed,
         "--seqs-per-struct", str(record["sequences"]), "--temperature", str(record["temperature"]),
         "--weights", f"{weights}/ProteinMPNN_v48_noise_0.2.pt", *same],
        ["rf2", "--input-quiver", "sequences.qv", "--output-quiver", "predictions.qv",
         "--num-recycles", str(record["recycles"]), "--weights", f"{weights}/RF2_ab.pt"],
        ["qvextract", "predictions.qv", "--output-dir", "predicted"],
        ["qvscorefile", "predictions.qv"],
    ]  # fmt: skip


def collect(folder, scores):
    """The predictions as models of one PDB, in the order of the table."""
    header, *rows = scores.splitlines()
    tag = header.split("\t").index("tag")
    models = []
    for number, row in enumerate(rows, 1):
        lines = (folder / f"{row.split(chr(9))[tag]}.pdb").read_text().splitlines()
        kept = [line for line in lines if line.startswith(("ATOM", "HETATM", "TER", "REMARK"))]
        models.append("\n".join([f"MODEL     {number:4d}", *kept, "ENDMDL"]))
    return "\n".join([*models, "END"]) + "\n"


def main(path, weights):
    record = json.loads(Path(path).read_text())
    steps = plan(record, weights)
    for arguments in steps:
        if shutil.which(arguments[0]) is None:
            raise FileNotFoundError(
                f"There is no program {arguments[0]} on this machine: install RFantibody."
            )
    for name in ("target", "framework"):
        shutil.copy(record[name], f"{name}.pdb")
    printed = ""
    for number, arguments in enumerate(steps):
        print(f"step {number} of {len(steps)}", flush=True)
        last = number == len(steps) - 1
        done = subprocess.run(arguments, check=False, stdout=subprocess.PIPE if last else None, text=True)
        if done.returncode:
            sys.exit(1)
        printed = done.stdout if last else ""
    Path("scores.tsv").write_text(printed)
    Path("designs.pdb").write_text(collect(Path("predicted"), printed))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:  # the input is at fault: wrong_input in model.yaml
        sys.exit(print(error, file=sys.stderr) or 2)
    except OSError as error:
        sys.exit(str(error))
