"""Protenix: one job, one run of `protenix pred`, the best of its samples.

Flags, document and files as in protenix 2.0.0 (runner/batch_inference.py, runner/inference.py, runner/dumper.py).
It asks no server for alignments: what is sent is all that there is.

python predict.py RECORD WEIGHTS
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

NEEDED = (
    "common/components.cif",
    "common/components.cif.rdkit_mol.pkl",
    "common/clusters-by-entity-40.txt",
    "common/obsolete_release_date.csv",
)


def job(record):
    """The document, a list of one job. Raises ValueError for what it cannot be."""
    given = record["input"]
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("sequences"), list)
        or not given["sequences"]
    ):
        raise ValueError("input: it is one job, which has sequences.")
    refuse_files(given)
    given = {**given, "name": "model"}
    given.pop("modelSeeds", None)  # the seed is a parameter
    if record.get("alignment"):
        proteins = [each["proteinChain"] for each in given["sequences"] if "proteinChain" in each]
        if len(proteins) != 1:
            raise ValueError(f"alignment: it is of a single protein chain; the input has {len(proteins)}.")
        proteins[0]["unpairedMsaPath"] = "alignment.a3m"
    return [given]


def refuse_files(value):
    """Raise ValueError for a document that names files of this machine."""
    if isinstance(value, list):
        for each in value:
            refuse_files(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if (
                name.endswith("Path")
                or name == "msa"
                or (isinstance(each, str) and each.startswith("FILE_"))
            ):
                raise ValueError(f"input: {name} names a file, which cannot be named from outside.")
            refuse_files(each)


def plan(record, weights):
    """The files that are written, and the arguments of the program."""
    model = record["model"]
    known = sorted(path.stem for path in (weights / "checkpoint").glob("*.pt"))
    if model not in known:
        raise ValueError(f"model: {model!r} is none of {', '.join(known) or 'no checkpoints at all'}.")
    files = {"input.json": json.dumps(job(record)) + "\n"}
    if record.get("alignment"):
        files["alignment.a3m"] = record["alignment"]
    kernel = "cuequivariance" if record.get("kernels") else "torch"
    arguments = [
        "protenix", "pred", "-i", "input.json", "-o", "out", "-s", str(record["seed"]), "-c", str(record["cycles"]),
        "-p", str(record["steps"]), "-e", str(record["samples"]), "-d", record["precision"], "-n", model,
        "--use_msa", "true" if record.get("alignment") else "false",
        "--trimul_kernel", kernel, "--triatt_kernel", kernel,
    ]  # fmt: skip
    return files, arguments


def collect(out, place):
    """The best structure and the summaries of all. Raises RuntimeError when there is none."""
    found = next(iter(sorted(out.rglob("predictions/model_sample_0.cif"))), None)
    if found is None:
        raise RuntimeError("Protenix wrote no structure; what it said is above.")
    count = len(list(found.parent.glob("model_summary_confidence_sample_*.json")))
    summaries = [
        json.loads((found.parent / f"model_summary_confidence_sample_{rank}.json").read_text())
        for rank in range(count)
    ]
    (place / "structure.cif").write_bytes(found.read_bytes())
    (place / "confidence.json").write_text(json.dumps(summaries))


def main(record, folder):
    weights = Path(folder)
    files, arguments = plan(json.loads(Path(record).read_text()), weights)
    if shutil.which(arguments[0]) is None:
        raise FileNotFoundError(
            "There is no program protenix on this machine: pip install protenix==2.0.0."
        )
    for needed in NEEDED:  # else it would be fetched
        if not (weights / needed).is_file():
            raise FileNotFoundError(f"weights has no {needed}, which Protenix needs.")
    for path, text in files.items():
        Path(path).write_text(text)
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
