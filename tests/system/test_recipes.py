"""Every entry whose weights come in a package answers its example as the catalog says; real weights, no platform."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.catalog import load
from modelyard.catalog.entry import Entry
from modelyard.catalog.recipe import declared_by
from modelyard.package.environment import Environments
from support.entry import loaded

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

WITHOUT_WEIGHTS = {"command"}
# Weights in a package, and no answer in the entry. All of them are run by test_families with what their own
# libraries answer.
LEFT_OUT = {
    "protein-mpnn": "its designs are sampled, and a seed is a parameter; test_families gives one",
    "soluble-mpnn": "as protein-mpnn",
    "silero-vad": "a recording is too long for an entry",
    "igfold": "its answer is a structure of 234 residues",
    "smollm2-135m-instruct-gguf": "text that is written token by token may differ between processors",
    "ligand-mpnn": "as protein-mpnn; test_families puts a ligand beside the protein",
}
# Programs are run by test_programs.
RUN = [
    each
    for each in load().entries.values()
    if each.expected is not None and each.adapter not in WITHOUT_WEIGHTS
]


@pytest.mark.parametrize("entry", RUN, ids=lambda entry: entry.name)
def test_the_example_is_answered_as_the_entry_says(
    entry: Entry, tmp_path: Path, environments: Environments
) -> None:
    with loaded(entry.name, tmp_path, environments) as model:
        (alone,) = model.predict(model.example)
        assert "code" not in alone, alone
        assert entry.expected is not None
        check(alone, entry.expected)
        for answer in model.predict(model.example, model.example):
            check(answer, entry.expected)


def test_chronos_forecasts_from_files_as_the_hub_has_them(
    tmp_path: Path, environments: Environments
) -> None:
    """The real architectures, with random weights."""
    requirements = declared_by(load().get("chronos-t5-tiny"))["requirements"]
    python = environments.ensure(requirements).python
    program = Path(__file__).parents[1] / "support" / "tiny_chronos.py"
    subprocess.run([python, str(program), str(tmp_path)], check=True)
    for name in ("chronos-t5-tiny", "chronos-bolt-tiny"):
        with loaded(name, tmp_path, environments, mirror=tmp_path) as model:
            other = {"series": [1.0, 2.0, 4.0], "horizon": 3}
            one, two, empty = model.predict(model.example, other, {"series": [], "horizon": 1})
            assert [len(each) for each in one["quantiles"]] == [9] * model.example["horizon"]
            assert [len(each) for each in two["quantiles"]] == [9] * 3
            assert (empty["code"], empty["field"]) == ("invalid_input", "inputs.series")


def test_what_comes_in_a_package_is_run_or_said_to_be_left_out() -> None:
    in_packages = {
        each.name
        for each in load().entries.values()
        if each.source.package is not None and each.adapter not in WITHOUT_WEIGHTS
    }
    run = {each.name for each in RUN}
    assert run.isdisjoint(LEFT_OUT)
    assert in_packages - run - ELSEWHERE == LEFT_OUT.keys()


# Their package has the code, and their weights are fetched by it from elsewhere.
ELSEWHERE = {
    "abodybuilder2", "nanobodybuilder2", "ani-2x", "carp-600k", "carp-38m", "carp-76m", "carp-640m", "mif-st", "chroma",
    "decimer", "evodiff-oadm-38m", "evodiff-oadm-640m",
}  # fmt: skip


def check(found: Any, expected: Any, where: str = "") -> None:
    """Numbers to three digits (small ones to 0.001), all else the same. An entry may tell some of the outputs, and
    of what is long its beginning."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            check(found[name], value, f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) >= len(expected), where
        for index, value in enumerate(expected):
            check(found[index], value, f"{where}[{index}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-3), where
    else:
        assert found == expected, where
