"""SavedModels and TensorFlow Lite files answer as in a plain script of TensorFlow, whatever they are batched with."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze import analyze, tensorflow, tflite
from modelyard.core.errors import RejectedContent
from modelyard.package.environment import Environments
from modelyard.store.files import FolderFiles
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parents[1] / "support" / "tensorflow_reference.py"


class Model(NamedTuple):
    """A loaded model: what it said, what computes a batch, inputs and answers of a plain script."""

    hello: dict[str, Any]
    batch: Callable[..., list[Any]]
    inputs: dict[str, np.ndarray]
    answers: dict[str, np.ndarray]

    def rows(self, begin: int, end: int) -> dict[str, np.ndarray]:
        return {name: array[begin:end] for name, array in self.inputs.items()}

    def is_right(self, answer: dict[str, Any], begin: int, end: int) -> None:
        assert set(self.answers) <= set(answer), answer
        for name, wanted in self.answers.items():
            assert answer[name].shape == wanted[begin:end].shape
            assert np.abs(answer[name] - wanted[begin:end]).max() <= 1e-5


Get = Callable[[str], Model]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environments: Environments) -> Path:
    """The models' folders, TensorFlow's answers; ``python`` can load them, ``lite`` those of TensorFlow Lite."""
    folder = tmp_path_factory.mktemp("tensorflow")
    python = environments.ensure(list(tensorflow.REQUIREMENTS)).python
    (folder / "python").write_text(python)
    (folder / "lite.python").write_text(environments.ensure(list(tflite.REQUIREMENTS)).python)
    done = subprocess.run([python, str(PROGRAM), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "square" / "model.yaml").write_text("options: {signature: square}\n")
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
                python = folder / ("lite.python" if analysis.adapter == "tflite" else "python")
                executor = stack.enter_context(
                    ExecutorProcess(tmp_path_factory.mktemp(name), python=python.read_text(), timeout=300)
                )
                hello = executor.start(analysis.adapter, folder / name, analysis.options)
                assert hello["type"] == "HELLO", hello
                held = np.load(folder / f"{name}.npz")
                inputs = {key[3:]: held[key] for key in held if key.startswith("in.")}
                answers = {key: held[key] for key in held if not key.startswith("in.")}
                started[name] = Model(hello, executor.batch, inputs, answers)
            return started[name]

        yield get


@pytest.mark.parametrize("name", ["keras", "words", "lite"])
def test_alone_and_in_a_batch(model: Get, name: str) -> None:
    held = model(name)
    assert held.hello["signature"]["batched"] and held.hello["signature"]["max_batch"] is None
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


def test_text_comes_and_goes_as_bytes(model: Get) -> None:
    held = model("words")
    short, long = held.batch(
        {"word": np.array([b"a\xff"], dtype=object), "m": np.ones((1, 2), "f")},
        {"word": np.array(["b"]), "m": np.ones((1, 4), "f")},
    )
    assert (short["up"].tolist(), short["sum"].tolist()) == ([b"A\xff"], [4.0])
    assert (long["id"].tolist(), long["sum"].tolist()) == ([2], [8.0])


def test_fixed_shapes(model: Get) -> None:
    square = model("square")
    assert (square.hello["signature"]["batched"], square.hello["signature"]["inputs"][0]["shape"]) == (
        False,
        [2, 2],
    )
    quantized = model("quantized")
    assert quantized.hello["signature"]["max_batch"] == 1
    for held in (square, quantized):
        for answer in held.batch(held.inputs, held.inputs):
            held.is_right(answer, 0, 2)


def test_what_the_graph_cannot_take_fails_alone(model: Get) -> None:
    for name in ("keras", "lite"):
        held = model(name)
        good, beyond, after = held.batch(
            held.rows(0, 1), held.rows(0, 1) | {"b": np.full((1, 3), 99, "i4")}, held.rows(0, 1)
        )
        held.is_right(good, 0, 1)
        held.is_right(after, 0, 1)
        if name == "keras":
            assert (beyond["code"], beyond["field"]) == ("invalid_input", "inputs")
            assert "99 is not in [0, 7)" in beyond["message"]
        else:
            assert "out of bounds" in beyond["message"]


def test_a_graph_that_writes_is_told(folder: Path) -> None:
    found = analyze(FolderFiles(folder / "writer"))
    assert found.executes == "code"
    assert "'WriteFile'" in found.because


def test_a_file_that_does_not_load_says_why(folder: Path, tmp_path: Path) -> None:
    analysis = analyze(FolderFiles(folder / "lite"))
    (tmp_path / "model.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    with ExecutorProcess(tmp_path, python=(folder / "lite.python").read_text()) as executor:
        failed = executor.start(analysis.adapter, tmp_path, analysis.options)
    assert failed["type"] == "FAILED"
    assert "LiteRT cannot load model.tflite" in failed["message"]


def test_from_the_files_to_an_answer(shell: Shell, folder: Path) -> None:
    for path, name in ((folder / "keras", "keras"), (folder / "lite" / "model.tflite", "lite")):
        deployed = shell.json("deploy", str(path), "--name", name)
        assert (deployed["state"], deployed["version"]) == ("ready", 1)
        held = np.load(folder / f"{name}.npz")
        record = {key[3:]: held[key][0].tolist() for key in held if key.startswith("in.")}
        done = shell.run("predict", name, "--json", text=json.dumps(record))
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        for key in ("y", "z"):
            assert np.abs(np.array(answer[key]) - held[key][0]).max() <= 1e-5
    refused = shell.run("deploy", str(folder / "writer"), "--name", "writer")
    assert refused.returncode == 1
    assert (
        "'WriteFile'" in refused.stdout + refused.stderr
        and "--trust-pickle" in refused.stdout + refused.stderr
    )
    with pytest.raises(RejectedContent, match="export"):
        analyze(FolderFiles(folder / "model.keras"))
