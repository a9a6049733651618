"""Boltz: its document out of sequences and a ligand, one run of `boltz predict`, the surest of its samples.

Flags, document and files as in boltz 2.2.1 (main.py, data/parse/schema.py, data/write/writer.py).

python predict.py RECORD WEIGHTS DEVICE
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

AMINO = "ACDEFGHIKLMNPQRSTVWYX"
# Residues that Boltz-2 always loads, and those of nucleic acids; of 45,000 molecules it reads no more than these
# and what the document names.
MOLECULES = "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL UNK A G C U N DA DG DC DT DN"
NEEDED = {
    "boltz1": ["boltz1_conf.ckpt", "ccd.pkl"],
    "boltz2": ["boltz2_conf.ckpt", "boltz2_aff.ckpt", "mols.tar"],
}


def chains(sequence):
    """The chains of ``sequence``. Raises ValueError with the position of what is no amino acid."""
    found = sequence.strip().upper().split(":")
    for number, chain in enumerate(found, 1):
        if not chain:
            raise ValueError(f"sequence: chain {number} is empty.")
        for position, letter in enumerate(chain):
            if letter not in AMINO:
                raise ValueError(
                    f"sequence: chain {number}[{position}]: {letter!r} is no amino acid ({AMINO})."
                )
    return found


def document(record, model):
    """Boltz's own document for ``record``. Raises ValueError for what it cannot be."""
    given = record.get("document")
    if given is not None:
        if any(record.get(each) for each in ("sequence", "ligand", "alignment")):
            raise ValueError("Give a document, or a sequence with what belongs to it, not both.")
        return checked(given)
    if not record.get("sequence"):
        raise ValueError("Give a sequence, or a document.")
    proteins = chains(record["sequence"])
    if record.get("alignment") and len(proteins) > 1:
        raise ValueError("alignment: it is of a single chain; a complex is predicted without.")
    alignment = "alignment.a3m" if record.get("alignment") else "empty"
    names = [name(number) for number in range(len(proteins) + 1)]
    told = {
        "version": 1,
        "sequences": [
            {"protein": {"id": each, "sequence": chain, "msa": alignment}}
            for each, chain in zip(names, proteins, strict=False)
        ],
    }
    if record.get("ligand"):
        told["sequences"].append({"ligand": {"id": names[-1], "smiles": record["ligand"].strip()}})
    if record.get("affinity"):
        if model != "boltz2":
            raise ValueError("affinity: only Boltz-2 predicts it.")
        if not record.get("ligand"):
            raise ValueError("affinity: it is that of a ligand; give one.")
        told["properties"] = [{"affinity": {"binder": names[-1]}}]
    return told


def name(number):
    """A, B … Z, AA, AB …"""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return (name(number // 26 - 1) if number >= 26 else "") + letters[number % 26]


def checked(given):
    """A caller's document: it names no files of this machine, and proteins without an alignment are told so."""
    if not isinstance(given, dict) or not isinstance(given.get("sequences"), list):
        raise ValueError("document: it has version and sequences.")  # noqa: TRY004
    if given.get("templates"):
        raise ValueError("document: templates are files, which cannot be named from outside.")
    for entity in given["sequences"]:
        protein = entity.get("protein") if isinstance(entity, dict) else None
        if isinstance(protein, dict) and protein.setdefault("msa", "empty") != "empty":
            raise ValueError("document: msa is a file, which cannot be named from outside; leave it out.")
    for code in codes(given):
        if not isinstance(code, str) or not re.fullmatch(r"[A-Za-z0-9]{1,5}", code):
            raise ValueError(f"document: {code!r} is no code of a chemical component.")
    return given


def codes(value):
    """All that ``ccd`` says in a document: codes of the chemical component dictionary."""
    if isinstance(value, list):
        return [code for each in value for code in codes(each)]
    if not isinstance(value, dict):
        return []
    own = value.get("ccd", [])
    return [*(own if isinstance(own, list) else [own]), *codes(list(value.values()))]


def plan(record, device, model):
    """The files that are written, and the arguments of the program."""
    files = {"input.yaml": json.dumps(document(record, model)) + "\n"}
    if record.get("alignment"):
        files["alignment.a3m"] = record["alignment"]
    arguments = [
        "boltz", "predict", "input.yaml", "--out_dir", "out", "--cache", "cache", "--model", model,
        "--accelerator", "cpu" if device == "cpu" else "gpu", "--devices", "1",
        "--recycling_steps", str(record["recycling_steps"]), "--sampling_steps", str(record["sampling_steps"]),
        "--diffusion_samples", str(record["samples"]), "--output_format", "mmcif", "--num_workers", "0",
        "--preprocessing-threads", "1",
    ]  # fmt: skip
    if record.get("seed") is not None:
        arguments += ["--seed", str(record["seed"])]
    if record.get("potentials"):
        arguments.append("--use_potentials")
    if not record.get("kernels"):
        arguments.append("--no_kernels")
    return files, arguments


def cache(weights, model, told, place):
    """A folder as Boltz keeps its own, which is not written into: weights, and the molecules that are needed."""
    place.mkdir()
    for needed in NEEDED[model]:
        if not (weights / needed).exists():
            raise FileNotFoundError(f"weights has no {needed}, which {model} needs.")
        (place / needed).symlink_to(weights / needed)
    if model == "boltz1":
        return
    if (weights / "mols").is_dir():
        (place / "mols").symlink_to(weights / "mols")
        return
    wanted = {*MOLECULES.split(), *codes(told)}
    (place / "mols").mkdir()
    with tarfile.open(weights / "mols.tar") as tar:
        for member in tar:
            path = Path(member.name)
            if member.isfile() and path.suffix == ".pkl" and path.stem in wanted:
                (place / "mols" / path.name).write_bytes(tar.extractfile(member).read())


def collect(out, place):
    """The surest structure and all scores, for who reads them. Raises ValueError when there is no structure."""
    found = out / "boltz_results_input" / "predictions" / "input"
    if not (found / "input_model_0.cif").is_file():
        raise ValueError("Boltz predicted nothing; what it said of the input is above.")
    count = len(list(found.glob("confidence_input_model_*.json")))
    scores = {
        "confidence": [
            json.loads((found / f"confidence_input_model_{rank}.json").read_text()) for rank in range(count)
        ]
    }
    affinity = found / "affinity_input.json"
    if affinity.is_file():
        scores["affinity"] = json.loads(affinity.read_text())
    (place / "structure.cif").write_bytes((found / "input_model_0.cif").read_bytes())
    (place / "scores.json").write_text(json.dumps(scores))


def main(record, weights, device):
    model = json.loads(Path(__file__).with_name("options.json").read_text())["model"]
    told = json.loads(Path(record).read_text())
    files, arguments = plan(told, device, model)
    if shutil.which(arguments[0]) is None:
        raise FileNotFoundError("There is no program boltz on this machine: pip install boltz==2.2.1.")
    for path, text in files.items():
        Path(path).write_text(text)
    cache(Path(weights), model, json.loads(files["input.yaml"]), Path("cache"))
    if device.startswith("cuda:"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        index = int(device[5:])
        os.environ["CUDA_VISIBLE_DEVICES"] = (
            visible[index] if index < len(visible) and visible[0] else str(index)
        )
    if subprocess.run(arguments, check=False).returncode:
        sys.exit(1)
    collect(Path("out"), Path())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:  # the input is at fault: wrong_input in model.yaml
        sys.exit(print(error, file=sys.stderr) or 2)
    except OSError as error:
        sys.exit(str(error))
