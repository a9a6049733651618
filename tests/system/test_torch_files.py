"""TorchScript and programs of torch.export answer as in a plain script of PyTorch, whatever they are batched with."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze import analyze
from modelyard.analyze.torch_export import REQUIREMENTS
from modelyard.core.model import Analysis
from modelyard.package.environment import Environments
from modelyard.store.files import FolderFiles
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parents[1] / "support" / "torch_reference.py"
SCRIPTED = """
signature:
  inputs:
    - {name: x, datatype: FP32, shape: [4]}
    - {name: mask, datatype: FP32, shape: [3]}
  outputs:
    - {name: p, datatype: FP32, shape: [3]}
    - {name: y, datatype: FP32, shape: [3]}
"""


class Model(NamedTuple):
    """A loaded model: what analysis and it said, what computes a batch, inputs and answers of a plain script."""

    analysis: Analysis
    hello: dict[str, Any]
    batch: Callable[..., list[Any]]
    inputs: dict[str, np.ndarray]
    answers: dict[str, np.ndarray]

    def rows(self, begin: int, end: int) -> dict[str, np.ndarray]:
        return {name: array[begin:end] for name, array in self.inputs.items()}

    def is_right(self, answer: dict[str, Any], begin: int, end: int, tolerance: float = 1e-5) -> None:
        assert set(answer) == set(self.answers), answer
        for name, wanted in self.answers.items():
            assert answer[name].shape == wanted[begin:end].shape
            assert np.abs(answer[name] - wanted[begin:end]).max() <= tolerance


Get = Callable[[str], Model]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environments: Environments) -> Path:
    """The models' folders, PyTorch's answers, and ``python``, which can load them."""
    folder = tmp_path_factory.mktemp("torch")
    python = environments.ensure(list(REQUIREMENTS)).python
    (folder / "python").write_text(python)
    done = subprocess.run([python, str(PROGRAM), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "scripted" / "model.yaml").write_text(SCRIPTED)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Get]:
    """The loaded model of a name, started once."""
    started: dict[str, Model] = {}
    with ExitStack() as stack:

        def get(name: str) -> Model:
            if name not in started:
                analysis = analyze(FolderFiles(folder / name))
                assert analysis.executes == "no", analysis.because
                executor = stack.enter_context(
                    ExecutorProcess(tmp_path_factory.mktemp(name), python=(folder / "python").read_text())
                )
                hello = executor.start(analysis.adapter, folder / name, analysis.options)
                assert hello["type"] == "HELLO", hello
                held = np.load(folder / f"{name}.npz")
                inputs = {key[3:]: held[key] for key in held if key.startswith("in.")}
                answers = {key: held[key] for key in held if not key.startswith("in.")}
                started[name] = Model(analysis, hello, executor.batch, inputs, answers)
            return started[name]

        yield get


@pytest.mark.parametrize(
    "name", ["traced", "pair", "old", "scripted", "picture", "lengths", "bfloat16", "three"]
)
def test_alone_and_in_a_batch(model: Get, name: str) -> None:
    held = model(name)
    told = held.hello["signature"]
    assert told["batched"] and told["max_batch"] in (None, 64, 8)
    total = len(next(iter(held.inputs.values())))
    for found in (
        held.batch(held.rows(0, 1), held.rows(1, 3), held.rows(0, total)),
        [
            held.batch(held.rows(0, 1))[0],
            held.batch(held.rows(1, 3))[0],
            held.batch(held.rows(0, total))[0],
        ],
    ):
        held.is_right(found[0], 0, 1)
        held.is_right(found[1], 1, 3)
        held.is_right(found[2], 0, total)


def test_more_rows_than_the_program_takes_at_once(model: Get) -> None:
    held = model("three")  # three to eight of them
    many = held.batch(*[held.rows(0, 6)] * 3, held.rows(2, 3))
    for answer in many[:3]:
        held.is_right(answer, 0, 6)
    held.is_right(many[3], 2, 3)


@pytest.mark.parametrize(("name", "batched", "shape"), [("single", True, [4]), ("fixed", False, [2, 4])])
def test_a_first_axis_that_is_fixed(model: Get, name: str, batched: bool, shape: list[int]) -> None:
    held = model(name)
    told = held.hello["signature"]
    assert (told["batched"], told["max_batch"]) == (batched, 1 if batched else None)
    assert told["inputs"][0]["shape"] == shape
    for answer in held.batch(held.inputs, held.inputs):
        held.is_right(answer, 0, 2)


def test_a_first_axis_that_is_no_batch_is_found_out(model: Get) -> None:
    held = model("sequence")
    told = held.hello["signature"]
    assert (told["batched"], told["inputs"][0]["shape"]) == (False, [7, 2, 4])
    held.is_right(held.batch(held.inputs)[0], 0, 7)


def test_numbers_are_parameters_and_an_input_may_be_left_out(model: Get, folder: Path) -> None:
    held, masked = model("scripted"), np.load(folder / "masked.npz")
    plain, other = held.batch(
        held.inputs, held.inputs | {"mask": masked["mask"]}, parameters=[{}, {"scale": 2.0}]
    )
    held.is_right(plain, 0, 6)
    assert np.abs(other["y"] - masked["y"]).max() <= 1e-5


def test_what_the_program_cannot_take_is_refused_by_its_place(model: Get) -> None:
    held = model("picture")
    low = {"image": np.zeros((1, 3, 5, 16), "f"), "weight": np.zeros((1, 4), "f")}
    good, short = held.batch(held.rows(0, 1), low)
    held.is_right(good, 0, 1)
    assert (short["code"], short["field"]) == ("invalid_input", "inputs.image")
    assert "8 to 64" in short["message"]
    lengths = model("lengths")
    good, unlike = lengths.batch(
        lengths.rows(0, 1), {"ids": np.zeros((1, 4), "int64"), "mask": np.ones((1, 3), "f")}
    )
    lengths.is_right(good, 0, 1)
    assert (unlike["code"], unlike["field"]) == ("invalid_input", "inputs")
    for name in ("pair", "traced"):
        held = model(name)
        good, beyond = held.batch(held.rows(0, 1), held.rows(0, 1) | {"ids": np.array([99])})
        held.is_right(good, 0, 1)
        assert (beyond["code"], beyond["field"]) == ("invalid_input", "inputs")


@pytest.mark.parametrize("name", ["pair", "traced"])
def test_a_file_that_does_not_load_says_why(folder: Path, tmp_path: Path, name: str) -> None:
    analysis = analyze(FolderFiles(folder / name))
    path = next((folder / name).glob("model.pt*"))
    (tmp_path / path.name).write_bytes(path.read_bytes()[:-200])
    with ExecutorProcess(tmp_path, python=(folder / "python").read_text()) as executor:
        failed = executor.start(analysis.adapter, tmp_path, analysis.options)
    assert failed["type"] == "FAILED"
    assert f"cannot load {path.name}" in failed["message"]


def test_from_the_file_to_an_answer(shell: Shell, folder: Path) -> None:
    held = np.load(folder / "pair.npz")
    record = {"x": held["in.x"][0].tolist(), "ids": int(held["in.ids"][0])}
    for path, name in (
        (folder / "traced" / "model.pt", "traced"),
        (folder / "pair" / "model.pt2", "program"),
    ):
        deployed = shell.json("deploy", str(path), "--name", name)
        assert (deployed["state"], deployed["version"]) == ("ready", 1)
        done = shell.run("predict", name, "--json", text=json.dumps(record))
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert np.abs(np.array(answer["output_0"]) - held["output_0"][0]).max() <= 1e-5
    wrong = shell.run("predict", "program", "--json", text=json.dumps(record | {"x": [1.0, 2.0]}))
    assert wrong.returncode == 1 and "x" in wrong.stderr
    asked = shell.run("deploy", str(folder / "scripted" / "model.pt"), "--name", "scripted")
    assert (
        asked.returncode == 1 and "- {name: x, datatype: FP32, shape: [-1]}" in asked.stderr + asked.stdout
    )
    refused = shell.run("deploy", str(folder / "checkpoint.pt"), "--name", "checkpoint")
    assert refused.returncode == 1 and "a PyTorch checkpoint" in refused.stderr + refused.stdout
