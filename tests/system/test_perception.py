"""Models that see and hear answer as transformers' own pipelines do, whatever they are batched with; weights drawn
at random."""

import io
import json
import subprocess
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze import analyze
from modelyard.analyze.perception import PICTURES, SOUNDS
from modelyard.analyze.pretrained import TORCH
from modelyard.package.environment import Environments
from modelyard.store.files import FolderFiles

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parents[1] / "support" / "perception_reference.py"
DRAW = """
import sys
import numpy as np
from PIL import Image
rng = np.random.default_rng(5)
for number, (height, width) in enumerate([(40, 60), (33, 32), (100, 41), (40, 60)]):
    steps = rng.integers(0, 255, (5, 5, 3), dtype="uint8")
    Image.fromarray(steps).resize((width, height), Image.BICUBIC).save(f"{sys.argv[1]}/image{number}.png")
"""
RATE = 16_000


class Model(NamedTuple):
    """A loaded model: what it said, and what computes a batch."""

    hello: dict[str, Any]
    batch: Callable[..., list[Any]]


Get = Callable[[str], Model]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environments: Environments) -> Path:
    """The models' folders, images, recordings, what transformers says of them (``told.json``), and ``python``."""
    folder = tmp_path_factory.mktemp("perception")
    python = environments.ensure([*TORCH, *PICTURES, *SOUNDS]).python
    (folder / "python").write_text(python)
    rng = np.random.default_rng(3)
    for number, seconds in enumerate([1.0, 0.5, 2.2]):
        time = np.arange(int(seconds * RATE)) / RATE
        sound = 0.4 * np.sin(2 * np.pi * (200 + 150 * number) * time) + 0.05 * rng.standard_normal(
            len(time)
        )
        # As they come out of 16 bits.
        np.save(folder / f"sound{number}.npy", (np.round(sound * 32767) / 32768).astype("f4"))
    subprocess.run([python, "-c", DRAW, str(folder)], check=True)
    done = subprocess.run([python, str(PROGRAM), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "told.json").read_text())


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Get]:
    """The loaded model of a name, started once."""
    started: dict[str, Model] = {}
    with ExitStack() as stack:

        def get(name: str) -> Model:
            if name not in started:
                analysis = analyze(FolderFiles(folder / name))
                python = (folder / "python").read_text()
                executor = stack.enter_context(
                    ExecutorProcess(tmp_path_factory.mktemp(name), python=python)
                )
                hello = executor.start(analysis.adapter, folder / name, analysis.options)
                assert hello["type"] == "HELLO", hello
                started[name] = Model(hello, executor.batch)
            return started[name]

        yield get


def images(folder: Path) -> list[dict[str, Any]]:
    return [{"image": np.array([path.read_bytes()], dtype=object)} for path in sorted(folder.glob("*.png"))]


def sounds(folder: Path) -> list[dict[str, Any]]:
    files = []
    for path in sorted(folder.glob("*.npy")):
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(np.round(np.load(path) * 32768).astype("<i2").tobytes())
        files.append({"audio": np.array([buffer.getvalue()], dtype=object)})
    return files


def both_ways(model: Model, items: list[dict[str, Any]], parameters: dict[str, Any]) -> list[list[Any]]:
    """The answers of a batch, and of each call alone."""
    together = model.batch(*items, parameters=[parameters] * len(items))
    return [together, [model.batch(item, parameters=[parameters])[0] for item in items]]


@pytest.mark.parametrize("name", ["classes", "noises"])
def test_classes(model: Get, folder: Path, told: dict[str, Any], name: str) -> None:
    items = images(folder) if name == "classes" else sounds(folder)
    for found in both_ways(model(name), items, {"top_k": 4}):
        for answer, expected in zip(found, told[name], strict=True):
            labels = json.loads(answer["labels"][0])
            assert [each["label"] for each in labels] == [each["label"] for each in expected]
            assert [each["score"] for each in labels] == pytest.approx(
                [each["score"] for each in expected], abs=1e-4
            )
            assert answer["label"].tolist() == [expected[0]["label"].encode()]
    (one,) = model(name).batch(items[0], parameters=[{"top_k": 1}])
    assert len(json.loads(one["labels"][0])) == 1


@pytest.mark.parametrize("name", ["vectors", "convolutions"])
def test_embeddings(model: Get, folder: Path, told: dict[str, Any], name: str) -> None:
    for found in both_ways(model(name), images(folder), {}):
        for answer, expected in zip(found, told[name], strict=True):
            assert np.abs(answer["embedding"][0] - expected).max() < 1e-4
    (one,) = model(name).batch(images(folder)[0], parameters=[{"normalize": True}])
    assert np.linalg.norm(one["embedding"][0]) == pytest.approx(1.0, abs=1e-5)


def test_objects(model: Get, folder: Path, told: dict[str, Any]) -> None:
    assert any(told["objects"])
    for found in both_ways(model("objects"), images(folder), {"threshold": 0.1}):
        for answer, expected in zip(found, told["objects"], strict=True):
            objects = json.loads(answer["objects"][0])
            expected = sorted(expected, key=lambda each: -each["score"])
            assert [each["label"] for each in objects] == [each["label"] for each in expected]
            for mine, theirs in zip(objects, expected, strict=True):
                assert mine["score"] == pytest.approx(theirs["score"], abs=1e-4)
                for edge, place in theirs["box"].items():  # the pipeline gives whole pixels
                    assert abs(mine["box"][edge] - place) <= 1.01


@pytest.mark.parametrize("name", ["letters", "words"])
def test_words_of_recordings(model: Get, folder: Path, told: dict[str, Any], name: str) -> None:
    parameters = {"language": "en"} if name == "words" else {}
    for found in both_ways(model(name), sounds(folder), parameters):
        for answer, expected, sound in zip(found, told[name], sorted(folder.glob("*.npy")), strict=True):
            assert answer["text"][0].decode() == expected.strip()
            assert answer["duration"][0] == len(np.load(sound)) / RATE


def test_a_long_recording_is_heard_to_its_end(model: Get, folder: Path) -> None:
    """By Whisper's windows; what random weights write of it is nothing to compare."""
    (first, *_) = sounds(folder)
    buffer = io.BytesIO()
    with wave.open(io.BytesIO(first["audio"][0])) as short, wave.open(buffer, "wb") as long:
        long.setparams(short.getparams())
        long.writeframes(short.readframes(RATE) * 33)
    (answer,) = model("words").batch(
        {"audio": np.array([buffer.getvalue()], dtype=object)}, parameters=[{"language": "de"}]
    )
    assert answer["duration"][0] == 33.0


def test_what_cannot_be_read_is_told(model: Get, folder: Path) -> None:
    for name, field, data in (
        ("classes", "image", b"no image"),
        ("classes", "image", images(folder)[0]["image"][0][:200]),
        ("letters", "audio", b"no recording"),
        ("letters", "audio", b""),
    ):
        (wrong,) = model(name).batch({field: np.array([data], dtype=object)})
        assert (wrong["code"], wrong["field"]) == ("invalid_input", f"inputs.{field}"), wrong
    (wrong,) = model("words").batch(sounds(folder)[0], parameters=[{"language": "klingon"}])
    assert (wrong["code"], wrong["field"]) == ("invalid_input", "parameters.language")
    (wrong,) = model("objects").batch(images(folder)[0], parameters=[{"threshold": 2.0}])
    assert wrong["field"] == "parameters.threshold"
    good, bad = model("classes").batch(images(folder)[0], {"image": np.array([b"no"], dtype=object)})
    assert "label" in good
    assert bad["code"] == "invalid_input"
