"""A real program as a model: the finder of genes of the examples answers what it writes when it is run by hand."""

import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from executor.process import ExecutorProcess
from fuzz.files import Files
from modelyard.analyze import analyze
from modelyard.package.environment import Environments

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "pyrodigal"
CODONS = [
    "CTG", "GAA", "AAA", "GCG", "GGC", "ATT", "GAT", "GTG", "CAG", "ACC", "CGT", "AAC", "AGC", "TTT", "TAT", "GGT",
]  # fmt: skip


def a_contig() -> str:
    """A gene as Escherichia coli likes it, with a place for a ribosome before it, among noise."""
    chance = random.Random(4)
    gene = "ATG" + "".join(chance.choices(CODONS, k=300)) + "TAA"
    before, after = ("".join(chance.choices("ACGT", k=length)) for length in (120, 200))
    return before + "AGGAGGTAATAA" + gene + after


def test_it_answers_what_it_writes(tmp_path: Path, environments: Environments) -> None:
    described = analyze(Files({"model.yaml": (EXAMPLE / "model.yaml").read_bytes()}))
    environment = environments.ensure(list(described.requirements))
    sequence = a_contig()
    with ExecutorProcess(tmp_path, python=environment.python) as executor:
        hello = executor.start("command", EXAMPLE, described.options)
        assert hello["type"] == "HELLO", hello
        answer, short = executor.batch(
            {"sequence": np.array(sequence, dtype=object)},
            {"sequence": np.array("ACGT", dtype=object)},
            parameters=[{"closed": True}, {"mode": "single"}],
        )
    (tmp_path / "genome.fna").write_text(f">query\n{sequence}\n")
    program = Path(environment.python).parent / "pyrodigal"
    subprocess.run(
        [program, "-i", "genome.fna", "-p", "meta", "-c", "-f", "gff", "-o", "o.gff", "-a", "p.faa"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    assert answer["genes"].item() == (tmp_path / "o.gff").read_bytes()
    assert answer["proteins"].item() == (tmp_path / "p.faa").read_bytes()
    assert answer["proteins"].item().count(b">") >= 1
    assert "at least 20000 characters" in short["message"]
