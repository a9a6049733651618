"""RFdiffusion: one run of its script, all designs in one file.

Overrides as in config/inference/base.yaml and the README of RosettaCommons/RFdiffusion, and in
rfdiffusion/inference/model_runners.py at 039b260e39b910e3349ecb0ad4c1c58fa243100c.

python design.py RECORD WEIGHTS
"""

import json
import re
import subprocess
import sys
from pathlib import Path

CONTIG = re.compile(r"[A-Za-z0-9/ -]+")
RESIDUES = re.compile(r"[A-Za-z]\d+(-\d+)?([,/][A-Za-z]\d+(-\d+)?)*")


def plan(record, weights):
    """The overrides of the script. Raises ValueError for what they cannot be."""
    contigs = record["contigs"].strip().strip("[]")
    if not CONTIG.fullmatch(contigs):
        raise ValueError(
            "contigs: lengths, and residues of the structure, such as 5-15/A10-25/30-40/0 B1-100."
        )
    if re.search("[A-Za-z]", contigs) and not record.get("structure"):
        raise ValueError("contigs: it names residues; give the structure that has them.")
    overrides = [
        f"contigmap.contigs=[{contigs}]", "inference.output_prefix=out/design", f"inference.num_designs={record['designs']}",
        f"inference.model_directory_path={weights}/models", "inference.schedule_directory_path=schedules",
        "inference.write_trajectory=False", f"diffuser.T={record['steps']}",
        f"denoiser.noise_scale_ca={record['noise']}", f"denoiser.noise_scale_frame={record['noise']}",
    ]  # fmt: skip
    if record.get("structure"):
        overrides.append("inference.input_pdb=structure.pdb")
    if record.get("partial") is not None:
        overrides.append(f"diffuser.partial_T={record['partial']}")
    for name, override in (("hotspots", "ppi.hotspot_res"), ("hidden", "contigmap.inpaint_seq")):
        if record.get(name):
            if not RESIDUES.fullmatch(record[name]):
                raise ValueError(f"{name}: residues by chain and number, such as A59,A83.")
            overrides.append(f"{override}=[{record[name]}]")
    if record.get("checkpoint"):
        known = sorted(path.stem for path in Path(weights, "models").glob("*.pt"))
        if record["checkpoint"] not in known:
            raise ValueError(f"checkpoint: {record['checkpoint']!r} is none of {', '.join(known)}.")
        overrides.append(f"inference.ckpt_override_path={weights}/models/{record['checkpoint']}.pt")
    if record.get("deterministic"):
        overrides.append("inference.deterministic=True")
    return [f"{weights}/scripts/run_inference.py", *overrides]


def collect(folder, count):
    """All designs as models of one PDB."""
    models = []
    for number in range(count):
        lines = (folder / f"design_{number}.pdb").read_text().splitlines()
        atoms = [line for line in lines if line.startswith(("ATOM", "HETATM", "TER"))]
        models.append("\n".join([f"MODEL     {number + 1:4d}", *atoms, "ENDMDL"]))
    return "\n".join([*models, "END"]) + "\n"


def main(path, weights):
    record = json.loads(Path(path).read_text())
    arguments = plan(record, weights)
    if record.get("structure"):
        Path("structure.pdb").write_bytes(Path(record["structure"]).read_bytes())
    if subprocess.run([sys.executable, *arguments], check=False).returncode:
        sys.exit(1)
    Path("designs.pdb").write_text(collect(Path("out"), record["designs"]))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:  # the input is at fault: wrong_input in model.yaml
        sys.exit(print(error, file=sys.stderr) or 2)
    except OSError as error:
        sys.exit(str(error))
