"""AlphaFold 3 without its databases: what is predicted is what the document says, alignments and all.

Flags as in run_alphafold.py of google-deepmind/alphafold3 at 00d105288ef899b19dcb66226ac387750b03d920.

python predict.py RECORD WEIGHTS DEVICE
"""

import json
import os
import shutil
import sys
from pathlib import Path


def document(given):
    """The document with what it must have; chains without alignments and templates have empty ones, else the
    program would ask for databases. Raises ValueError for what it cannot be."""
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("sequences"), list)
        or not given["sequences"]
    ):
        raise ValueError("input: it is one document, which has sequences.")
    refuse_files(given)
    told = {"dialect": "alphafold3", "version": 1, "modelSeeds": [1], **given, "name": "model"}
    told["sequences"] = [entity(each) for each in given["sequences"]]
    return told


def entity(given):
    if not isinstance(given, dict) or len(given) != 1:
        raise ValueError("input: each of sequences is one of protein, rna, dna and ligand.")
    ((kind, told),) = given.items()
    if kind == "protein":
        return {kind: {"unpairedMsa": "", "pairedMsa": "", "templates": [], **told}}
    return {kind: {"unpairedMsa": "", **told}} if kind == "rna" else {kind: told}


def refuse_files(value):
    """Raise ValueError for a document that names files of this machine."""
    if isinstance(value, list):
        for each in value:
            refuse_files(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name.endswith("Path"):
                raise ValueError(
                    f"input: {name} names a file, which cannot be named from outside; put the text there."
                )
            refuse_files(each)


def plan(record, weights, device):
    """The files that are written, and the arguments of the program."""
    arguments = [
        "alphafold3", "--json_path=input.json", f"--model_dir={weights}", "--output_dir=out",
        "--run_data_pipeline=false", f"--num_recycles={record['recycles']}",
        f"--num_diffusion_samples={record['samples']}",
    ]  # fmt: skip
    if record.get("seeds") is not None:
        arguments.append(f"--num_seeds={record['seeds']}")
    if device == "cpu":
        arguments += ["--jax_backend=cpu", "--flash_attention_implementation=xla"]
    else:
        arguments.append(f"--gpu_device={device.partition(':')[2] or 0}")
    return {"input.json": json.dumps(document(record["input"])) + "\n"}, arguments


def main(record, weights, device):
    files, arguments = plan(json.loads(Path(record).read_text()), weights, device)
    if shutil.which(arguments[0]) is None:
        raise FileNotFoundError(
            "There is no program alphafold3 on this machine: a script that runs run_alphafold.py, see model.yaml."
        )
    for path, text in files.items():
        Path(path).write_text(text)
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:  # the input is at fault: wrong_input in model.yaml
        sys.exit(print(error, file=sys.stderr) or 2)
    except OSError as error:
        sys.exit(str(error))
