"""TemStaPro with ProtT5 from this disk: it asks the hub for its tokenizer by name, and a folder of that name in the
working folder is taken for it.

Flags as in the program temstapro of ievapudz/TemStaPro at 057936c3373f63338e3733cc4f7bd38480882f1b.

python predict.py WEIGHTS FASTA OUTPUT
"""

import os
import sys
from pathlib import Path

NAME = "Rostlab/prot_t5_xl_half_uniref50-enc"


def plan(weights, fasta, output):
    """The arguments of the program."""
    return [
        sys.executable, f"{weights}/temstapro", "-f", fasta, "-d", f"{weights}/ProtTrans", "-t", weights,
        "--mean-output", output,
    ]  # fmt: skip


def main(weights, fasta, output):
    if not (Path(weights) / "ProtTrans" / "pytorch_model.bin").is_file():
        sys.exit("weights has no ProtTrans/pytorch_model.bin, which TemStaPro needs.")
    Path(NAME).parent.mkdir()
    Path(NAME).mkdir()
    # Without the weights, which it would take for the tokenizer's.
    for path in (Path(weights) / "ProtTrans").iterdir():
        if path.suffix != ".bin":
            (Path(NAME) / path.name).symlink_to(path.resolve())
    arguments = plan(weights, fasta, output)
    os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
