"""Text models answer as transformers' own pipelines do, whatever they are batched with; weights drawn at random."""

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
from modelyard.analyze.pretrained import TORCH
from modelyard.analyze.transformers_task import CHAT
from modelyard.package.environment import Environments
from modelyard.store.files import FolderFiles
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

TEXTS = [
    "Ada Lovelace lived in London.",
    "a",
    "The quick brown fox jumps over the lazy dog, twice.",
    "größe and naïve café",
    "proteins bind ligands; ligands bind proteins",
]
LONG = "word " * 500


class Model(NamedTuple):
    """A loaded model: what it said, and what computes a batch."""

    hello: dict[str, Any]
    batch: Callable[..., list[Any]]


Get = Callable[[str], Model]
PROGRAM = Path(__file__).parents[1] / "support" / "transformers_reference.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environments: Environments) -> Path:
    """The models' folders, transformers' answers (``told.json``), and ``python``, which can load them."""
    folder = tmp_path_factory.mktemp("transformers")
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    python = environments.ensure([*TORCH, *CHAT]).python
    (folder / "python").write_text(python)
    subprocess.run([python, str(PROGRAM), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "told.json").read_text())


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Model]]:
    """The loaded model of a name, started once."""
    started: dict[str, Model] = {}
    with ExitStack() as stack:

        def get(name: str) -> Model:
            if name not in started:
                analysis = analyze(FolderFiles(folder / name))
                assert analysis.adapter == "transformers"
                executor = stack.enter_context(executor_of(folder, tmp_path_factory.mktemp(name)))
                hello = executor.start("transformers", folder / name, analysis.options)
                assert hello["type"] == "HELLO", hello
                started[name] = Model(hello, executor.batch)
            return started[name]

        yield get


def executor_of(folder: Path, private: Path) -> ExecutorProcess:
    return ExecutorProcess(private, python=(folder / "python").read_text())


def texts(texts: list[str], name: str = "text") -> list[dict[str, Any]]:
    return [{name: np.array([text])} for text in texts]


@pytest.mark.parametrize("name", ["classes", "several", "value"])
def test_classes_of_texts(model: Get, told: dict[str, Any], name: str) -> None:
    executor = model(name)
    for answer, expected in zip(executor.batch(*texts(TEXTS)), told[name], strict=True):
        best = max(expected, key=lambda each: each["score"])
        assert answer["label"].tolist() == [best["label"].encode()]
        assert answer["score"][0] == pytest.approx(best["score"], abs=1e-4)
        assert sorted(answer["scores"][0]) == pytest.approx(
            sorted(each["score"] for each in expected), abs=1e-4
        )


@pytest.mark.parametrize("how", ["none", "simple", "first", "average", "max"])
def test_entities_of_texts(model: Get, told: dict[str, Any], how: str) -> None:
    executor = model("tags")
    answers = executor.batch(*texts(TEXTS), parameters=[{"aggregation": how}] * len(TEXTS))
    for text, answer, expected in zip(TEXTS, answers, told["tags"][how], strict=True):
        found = json.loads(answer["entities"][0])
        assert [(each["entity"], each["start"], each["end"]) for each in found] == [
            (each.get("entity_group") or each["entity"], each["start"], each["end"]) for each in expected
        ]
        assert [each["score"] for each in found] == pytest.approx(
            [each["score"] for each in expected], abs=1e-4
        )
        assert all(each["word"] == text[each["start"] : each["end"]] for each in found)
    wrong = executor.batch(*texts(TEXTS[:1]), parameters=[{"aggregation": "most"}])[0]
    assert (wrong["code"], wrong["field"]) == ("invalid_input", "parameters.aggregation")


def test_masked_words(model: Get, told: dict[str, Any]) -> None:
    executor = model("masked")
    assert executor.hello["example"] == {"text": "The capital of France is [MASK]."}
    masked = ["[MASK] " + text for text in TEXTS]
    answers = executor.batch(*texts(masked), parameters=[{"top_k": 3}] * len(masked))
    for answer, expected in zip(answers, told["masked"], strict=True):
        (found,) = json.loads(answer["predictions"][0])
        assert [each["token"].strip() for each in found] == [each["token"].strip() for each in expected]
        assert [each["score"] for each in found] == pytest.approx(
            [each["score"] for each in expected], abs=1e-4
        )
    two, none = executor.batch(*texts(["[MASK] and [MASK]", "nothing"]))
    assert [len(each) for each in json.loads(two["predictions"][0])] == [5, 5]
    assert (none["code"], none["field"]) == ("invalid_input", "inputs.text")


@pytest.mark.parametrize("name", ["classes", "tags", "masked"])
def test_a_text_that_is_too_long_is_refused_or_cut_as_the_call_says(model: Get, name: str) -> None:
    executor = model(name)
    long = "[MASK] " + LONG
    refused, cut, plain = executor.batch(
        *texts([long, long, "[MASK] fox"]), parameters=[{}, {"truncate": True}, {}]
    )
    assert (refused["code"], refused["field"]) == ("invalid_input", "inputs.text")
    assert "64 tokens" in refused["message"]
    assert "code" not in cut and "code" not in plain


@pytest.mark.parametrize("name", ["llama", "chat", "t5"])
def test_generated_text(model: Get, told: dict[str, Any], name: str) -> None:
    executor = model(name)
    short = [{"max_new_tokens": 12}] * len(TEXTS)
    # One by one as the library was asked: drawn weights make near ties, which a batch may turn.
    alone = [executor.batch(item, parameters=short[:1])[0] for item in texts(TEXTS, "prompt")]
    assert [answer["text"][0].decode() for answer in alone] == told[name]
    assert all(answer["tokens"][0] <= 12 for answer in alone)
    assert {answer["finish_reason"][0] for answer in alone} <= {b"stop", b"length"}
    together = executor.batch(*texts(TEXTS, "prompt"), parameters=short)
    same = sum(a["text"][0] == b["text"][0] for a, b in zip(alone, together, strict=True))
    assert same >= 3
    drawn = {"max_new_tokens": 12, "temperature": 1.0, "seed": 7}
    first, _, again = executor.batch(
        *texts([TEXTS[0], TEXTS[1], TEXTS[0]], "prompt"), parameters=[drawn, drawn | {"seed": 8}, drawn]
    )
    assert first["text"][0] == again["text"][0]
    for parameters, field in [
        ({"temperature": -1.0}, "parameters.temperature"),
        ({"max_new_tokens": 0}, "parameters.max_new_tokens"),
        ({}, "inputs"),
    ]:
        wrong = executor.batch(*texts([LONG], "prompt"), parameters=[parameters])[0]
        assert (wrong["code"], wrong["field"]) == ("invalid_input", field), wrong


def test_what_is_no_model_of_its_task_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    """Weights that are missing would be drawn at random, and only a warning would say so."""
    options = analyze(FolderFiles(folder / "classes")).options
    with executor_of(folder, tmp_path) as executor:
        failed = executor.start("transformers", folder / "masked", options)
    assert failed["type"] == "FAILED"
    assert "classifier" in failed["message"]


def test_a_language_model_from_its_folder_to_a_stream(shell: Shell, folder: Path) -> None:
    deployed = shell.json("deploy", str(folder / "chat"), "--name", "writer")
    assert deployed["state"] == "ready"
    whole = shell.json("predict", "writer", "--set", "prompt=Ada", "--set", "max_new_tokens=12")
    assert whole["tokens"] <= 12
    streamed = shell.run(
        "predict", "writer", "--set", "prompt=Ada", "--set", "max_new_tokens=12", "--stream", "--json"
    )
    pieces = [json.loads(line) for line in streamed.stdout.splitlines()]
    assert "".join(piece["text"] for piece in pieces) == whole["text"]
    assert pieces[-1]["finish_reason"] == whole["finish_reason"]
