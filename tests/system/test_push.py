"""What a new user writes in a notebook: a model is trained, pushed, deployed, and called; its endpoint answers as it does."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from modelyard.package.environment import Environments
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]

HERE = """
import json, numpy, modelyard
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
import xgboost, lightgbm

X = numpy.random.default_rng(0).random((60, 3))
y = (X[:, 0] > 0.5).astype(int)
models = {
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y),
    "boosted": xgboost.XGBClassifier(n_estimators=3).fit(X, y),
    "light": lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y),
}
client = modelyard.Client()
for name, model in models.items():
    pushed = modelyard.push(
        model, name, example=X[:4], description="# Tried", task="classification", licence="MIT", tags=["tried"],
        metrics={"accuracy": float(model.score(X, y))}, alias="production", deploy=True, min_replicas=0,
    )
    assert repr(pushed).startswith(f"<Pushed {name}/1, "), repr(pushed)
    assert (pushed.new, pushed.checked, pushed.alias) == (True, 4, "production")
    answer = client.predict(name, features=X[7])
    assert answer["label"] == model.predict(X[7:8])[0]
    assert numpy.allclose(answer["probabilities"], model.predict_proba(X[7:8])[0], atol=1e-5)
    again = modelyard.push(model, name, example=X[:4], quiet=True)
    assert (again.version, again.new, again.digest) == (1, False, pushed.digest)
card = client.registry.card("pipeline").card
assert (card.task, card.licence, card.tags) == ("classification", "MIT", ("tried",))
assert card.metrics[0].rows[0][0] == "accuracy"
version = client.version("pipeline", 1)
assert version.aliases == ("production",)
assert version.analysis.executes == "no" and not version.trusted
assert [each.source.kind for each in client.provenance("pipeline", 1)] == ["object"]
other = modelyard.push(LogisticRegression().fit(X, y), "pipeline", example=X[:2], quiet=True)
assert other.version == 2

import asyncio

async def main():
    return await modelyard.push_async(models["boosted"], "waited", example=X[:2], quiet=True)

assert asyncio.run(main()).version == 1
"""

TORCH = """
import json, sys, torch, modelyard
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
x = torch.rand(3, 4)
pushed = modelyard.push(net, "net", example=x, deploy=True)
assert net.training  # as it was
assert (pushed.format, pushed.checked) == ("torch-export", 3)
net.eval()
answer = modelyard.Client().predict("net", input=x[0].numpy())
assert torch.allclose(torch.as_tensor(answer["output"]), net(x)[0], atol=1e-5)
again = modelyard.push(net, "net", example=x, quiet=True)
assert not again.new

class Two(torch.nn.Module):
    def forward(self, a, b):
        return {"sum": a + b}

try:
    modelyard.push(Two(), "two", example=x)
    raise SystemExit("it was taken")
except modelyard.core.errors.InvalidInput as error:
    assert "takes a, b, and the example has no b" in str(error), error
assert modelyard.push(Two(), "two", example=(x, x), quiet=True).checked == 3
try:
    modelyard.push(net, "net", example=torch.rand(3, 5))
    raise SystemExit("it was taken")
except modelyard.core.errors.RejectedContent as error:
    assert "cannot be called with the example" in str(error), error

from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

Path(sys.argv[1]).write_text("\\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "day", "bad"]))
tokenizer = BertTokenizerFast(sys.argv[1])
sizes = dict(vocab_size=9, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
bert = BertForSequenceClassification(BertConfig(**sizes, id2label={0: "neg", 1: "pos"}, label2id={"neg": 0, "pos": 1}))
pushed = modelyard.push(bert, "mood", example=["good day", "bad day"], processor=tokenizer)
assert (pushed.format, pushed.checked) == ("transformers", 2)
assert not modelyard.push(bert, "mood", example=["good day", "bad day"], processor=tokenizer, quiet=True).new
"""

CATBOOST = """
import catboost, numpy, pandas, modelyard
X = pandas.DataFrame(numpy.random.default_rng(0).random((60, 3)), columns=["a", "b", "c"])
y = numpy.where(X["a"] > 0.5, "yes", "no")
model = catboost.CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False).fit(X, y)
pushed = modelyard.push(model, "cat", example=X, deploy=True)
assert (pushed.format, pushed.checked) == ("CatBoost", 8)
answer = modelyard.Client().predict("cat", X.iloc[9].to_dict())
assert answer["label"] == model.predict(X.iloc[9:10])[0]
assert not modelyard.push(model, "cat", example=X, quiet=True).new
"""

KERAS = """
import keras, numpy, modelyard
keras.utils.set_random_seed(0)
net = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(2)])
x = numpy.random.default_rng(0).random((3, 4)).astype("float32")
pushed = modelyard.push(net, "deep", example=x, deploy=True)
assert (pushed.format, pushed.checked) == ("tensorflow-savedmodel", 3), pushed
answer = modelyard.Client().predict("deep", {modelyard.Client().endpoint("deep").signature.inputs[0].name: x[0]})
(output,) = answer.values()
assert numpy.allclose(output, net.predict(x[:1], verbose=0)[0], atol=1e-5)
"""

ADDRESSES = """
import asyncio, modelyard
again = modelyard.push("s3://models/double")
assert (again.name, again.version, again.new, again.format) == ("double", 1, False, "python-function"), again
async def main():
    return await modelyard.push_async("s3://models/double/model.py", "other", tags=["tried"], alias="new", quiet=True)
other = asyncio.run(main())
assert (other.name, other.version, other.alias) == ("other", 1, "new")
client = modelyard.Client()
assert client.registry.card("other").card.tags == ("tried",)
assert client.provenance("other", 1)[0].source.name == "s3://models/double/model.py"
for wrong in ("s3://models/nothing", "hf://", "no/such/path", "mlflow:models/a/1", "s3://key:secret@bucket/x"):
    try:
        modelyard.push(wrong, "wrong", quiet=True)
        raise SystemExit(wrong)
    except modelyard.core.errors.ModelyardError as error:
        assert "secret" not in str(error)
"""

FUNCTION = """
import math, modelyard
LIMIT = 10

def clip(value: float) -> float:
    return min(value, LIMIT)

def area(radius: float, factor: float = 1.0):
    "Of a circle."
    return clip(math.pi * radius**2 * factor)

modelyard.push(area, "area", example={"radius": 1.0}, deploy=True)
assert modelyard.Client().predict("area", radius=1.0)["output"] == area(1.0)
assert modelyard.Client().predict("area", radius=9.0, factor=2.0)["output"] == 10
"""


def run(shell: Shell, python: str, script: str, *arguments: str, folder: Path) -> None:
    """A script as a file, run to its end."""
    path = folder / "notebook.py"
    path.write_text(script)
    ended = subprocess.run(
        [python, str(path), *arguments],
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=800,
        cwd=folder,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def python_with(environments: Environments, *requirements: str) -> str:
    """A Python that has them, and what Modelyard itself needs."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return environments.ensure([*ours, *requirements], lambda _: None).python


def test_models_of_scikit_learn_xgboost_and_lightgbm(shell: Shell, tmp_path: Path) -> None:
    shell.run("up")
    run(shell, sys.executable, HERE, folder=tmp_path)


def test_a_function_of_a_script(shell: Shell, tmp_path: Path) -> None:
    shell.run("up")
    run(shell, sys.executable, FUNCTION, folder=tmp_path)


def test_modules_of_torch_and_models_of_transformers(
    shell: Shell, tmp_path: Path, environments: Environments
) -> None:
    shell.run("up")
    python = python_with(environments, "torch==2.13.0", "transformers>=4.50,<6", "numpy")
    run(shell, python, TORCH, str(tmp_path / "vocab.txt"), folder=tmp_path)


def test_models_of_catboost(shell: Shell, tmp_path: Path, environments: Environments) -> None:
    shell.run("up")
    python = python_with(environments, "catboost", "pandas", "numpy")
    run(shell, python, CATBOOST, folder=tmp_path)


def test_models_of_keras(shell: Shell, tmp_path: Path, environments: Environments) -> None:
    shell.run("up")
    shell.environment |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    python = python_with(environments, "tensorflow-cpu>=2.17,<3", "keras>=3", "numpy")
    run(shell, python, KERAS, folder=tmp_path)


def test_files_are_pushed_by_the_command_line_and_by_python(shell: Shell, tmp_path: Path) -> None:
    shell.run("up")
    folder = tmp_path / "double"
    folder.mkdir()
    (folder / "model.py").write_text("def predict(x: int):\n    return 2 * x\n")
    told = shell.json(
        "models", "push", str(folder), "--alias", "staging", "--tag", "tried", "--metric", "auc=0.9"
    )
    assert (told["model"], told["version"], told["new"], told["alias"]) == ("double", 1, True, "staging")
    assert shell.json("models", "push", str(folder))["new"] is False
    script = "import modelyard\nprint(modelyard.push('double', 'double'))\n"
    path = tmp_path / "again.py"
    path.write_text(script)
    said = subprocess.run(
        [sys.executable, str(path)],
        env=shell.environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert "double/1, python-function" in said.stdout, said.stderr
    assert "there already" in said.stdout
    assert shell.json("deploy", "double@staging", "--name", "twice")["state"] == "ready"
    for arguments, code, told in (
        (["models", "push", str(tmp_path / "nothing")], 2, "There is no file or folder"),
        (["models", "push", str(folder), "--metric", "auc"], 2, "NAME=NUMBER"),
        (["models", "push", str(folder), "--tracking-uri", "x"], 2, "for mlflow"),
        (["models", "push", str(folder), "--tag", "Not A Tag"], 1, "lower-case"),
        (["models", "push", "s3://key:secret@bucket/x"], 1, "environment's variables"),
    ):
        refused = shell.run(*arguments)
        assert (refused.returncode, told in refused.stderr) == (code, True), refused.stderr
        assert "key:secret" not in refused.stderr


def test_what_lies_in_a_bucket_is_pushed_without_its_secrets(shell: Shell, tmp_path: Path) -> None:
    import obstore
    from obstore.store import S3Store

    from support.s3 import KEY, SECRET, S3Server

    with S3Server(tmp_path / "s3") as server:
        shell.environment |= server.variables
        store = S3Store(
            "models", access_key_id=KEY, secret_access_key=SECRET, region="us-east-1", endpoint=server.url,
            client_options={"allow_http": True},
        )  # fmt: skip
        obstore.put(store, "double/model.py", b"def predict(x: int):\n    return 2 * x\n")
        shell.run("up")
        told = shell.json("models", "push", "s3://models/double")
        assert (told["model"], told["version"]) == ("double", 1)
        shown: Any = shell.json("models", "show", "double/1")
        said = json.dumps(shown)
        assert "s3://models/double" in said
        pushed = subprocess.run(
            [sys.executable, "-c", ADDRESSES], env=shell.environment, capture_output=True, text=True, timeout=200
        )  # fmt: skip
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
        assert "download" in pushed.stderr and "analyze" in pushed.stderr
        assert SECRET not in said
        assert SECRET not in "".join(
            path.read_text(errors="replace") for path in (shell.home / "logs").glob("*.log")
        )
    assert os.environ.get("AWS_SECRET_ACCESS_KEY") != SECRET
