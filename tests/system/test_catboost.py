"""CatBoost's models behind the executor give what CatBoost gives in a plain script, in both of their forms."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze import analyze, catboost
from modelyard.package.environment import Environments
from modelyard.store.files import FolderFiles

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

FIT = """
import json, sys
from pathlib import Path
import catboost, numpy
out, random = Path(sys.argv[1]), numpy.random.default_rng(0)
rows = random.normal(size=(300, 4))
rows[random.random(rows.shape) < 0.1] = numpy.nan
some = numpy.nan_to_num(rows)
three = numpy.array(["low", "middle", "high"])[(some[:, 0] > 0).astype(int) + (some[:, 1] > 0.5)]
table = [[float(age), str(city)] for age, city in zip(some[:, 0], random.choice(["Bonn", "Ulm", "Rom"], 300))]
answers = numpy.where(some[:, 0] > 0, "yes", "no")
named = catboost.Pool(table, answers, cat_features=[1], feature_names=["age", "city"])
how = dict(iterations=8, depth=3, verbose=0, thread_count=1, allow_writing_files=False)
models = {
    "classes": (catboost.CatBoostClassifier(**how).fit(rows, three), rows),
    "two": (catboost.CatBoostClassifier(**how).fit(rows, (some[:, 0] > 0).astype(int)), rows),
    "labels": (catboost.CatBoostClassifier(**how, loss_function="MultiLogloss").fit(rows, (some[:, :2] > 0).astype(int)), rows),
    "number": (catboost.CatBoostRegressor(**how).fit(rows, some[:, 0]), rows),
    "counts": (catboost.CatBoostRegressor(**how, loss_function="Poisson").fit(rows, numpy.abs(some[:, 0])), rows),
    "numbers": (catboost.CatBoostRegressor(**how, loss_function="MultiRMSE").fit(rows, some[:, :2]), rows),
    "table": (catboost.CatBoostClassifier(**how).fit(named), named),
}
told = {"rows": some.tolist(), "columns": table, "gaps": numpy.isnan(rows).tolist()}
for name, (model, data) in models.items():
    for form in ("cbm", "json"):
        folder = out / f"{name}-{form}"
        folder.mkdir()
        model.save_model(str(folder / f"model.{form}"), format=form, pool=named if name == "table" else None)
    told[name] = {"label": model.predict(data).tolist()}
    if hasattr(model, "predict_proba"):
        told[name]["probabilities"] = model.predict_proba(data).tolist()
(out / "told.json").write_text(json.dumps(told))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environments: Environments) -> Path:
    """The models, CatBoost's answers (``told.json``), and ``python``, which can load them."""
    folder = tmp_path_factory.mktemp("catboost")
    python = environments.ensure(list(catboost.REQUIREMENTS)).python
    (folder / "python").write_text(python)
    done = subprocess.run([python, "-c", FIT, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def ask(folder: Path, name: str, private: Path, *items: dict[str, Any]) -> list[Any]:
    analysis = analyze(FolderFiles(folder / name))
    assert (analysis.adapter, analysis.executes) == ("catboost", "no")
    with ExecutorProcess(private, python=(folder / "python").read_text()) as executor:
        hello = executor.start("catboost", folder / name, analysis.options)
        assert hello["type"] == "HELLO", hello
        return executor.batch(*items)


@pytest.mark.parametrize(
    "name",
    ["classes-cbm", "classes-json", "two-cbm", "labels-cbm", "number-cbm", "counts-cbm", "numbers-json", "table-cbm", "table-json"],
)  # fmt: skip
def test_alone_and_in_a_batch(folder: Path, tmp_path: Path, name: str) -> None:
    told = json.loads((folder / "told.json").read_text())
    rows = np.where(told["gaps"], np.nan, told["rows"])
    inputs: dict[str, np.ndarray] = {"features": rows}
    if name.startswith("table"):
        inputs = {
            "age": np.array([row[0] for row in told["columns"]]),
            "city": np.array([row[1] for row in told["columns"]]),
        }
    items = [{key: each[a:b] for key, each in inputs.items()} for a, b in ((0, 1), (1, 100), (100, 300))]
    answers = ask(folder, name, tmp_path, *items)
    assert not any("code" in each for each in answers), answers
    wanted = told[name.split("-")[0]]
    if "probabilities" not in wanted:
        found = np.concatenate([each["prediction"] for each in answers])
        assert np.abs(found - np.array(wanted["label"])).max() <= 1e-6
        return
    found = np.concatenate([each["probabilities"] for each in answers])
    assert np.abs(found - np.array(wanted["probabilities"])).max() <= 1e-6
    labels = np.concatenate([each["label"] for each in answers])
    expected = np.array(wanted["label"]).reshape(labels.shape)
    assert [
        each.decode() if isinstance(each, bytes) else each for each in labels.ravel()
    ] == expected.ravel().tolist()


def test_a_file_that_does_not_load_says_why(folder: Path, tmp_path: Path) -> None:
    analysis = analyze(FolderFiles(folder / "two-cbm"))
    (tmp_path / "model.cbm").write_bytes((folder / "two-cbm" / "model.cbm").read_bytes()[:-3000])
    with ExecutorProcess(tmp_path, python=(folder / "python").read_text()) as executor:
        failed = executor.start("catboost", tmp_path, analysis.options)
    assert failed["type"] == "FAILED"
    assert "CatBoost cannot load model.cbm" in failed["message"]
