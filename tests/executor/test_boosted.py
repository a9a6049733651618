"""Boosted trees behind the executor give exactly what their libraries give in this process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executor.process import ExecutorProcess
from fuzz.files import Files
from modelyard.analyze import analyze
from modelyard.core.model import Analysis
from support.later import Dataset, Later

IRIS, DIABETES = (Dataset(name) for name in ("iris", "diabetes"))
lightgbm, xgboost = Later("lightgbm"), Later("xgboost")
ROUNDS: dict[str, Any] = {"n_estimators": 12, "max_depth": 3, "n_jobs": 1}
LEAVES: dict[str, Any] = {**ROUNDS, "verbose": -1}


def gaps(rows: np.ndarray, seed: int = 0) -> np.ndarray:
    """The rows with one number in ten missing."""
    rows = rows.astype("float64").copy()
    rows[np.random.default_rng(seed).random(rows.shape) < 0.1] = np.nan
    return rows


def saved(folder: Path, model: Any, name: str) -> Path:
    files = folder / "files"
    files.mkdir(exist_ok=True)
    (model.booster_ if isinstance(model, lightgbm.LGBMModel) else model).save_model(str(files / name))
    return files


def described(files: Path) -> Analysis:
    return analyze(Files({path.name: path.read_bytes() for path in files.iterdir()}))


def ask(folder: Path, model: Any, name: str, *items: dict[str, Any]) -> tuple[Analysis, list[Any]]:
    """What the analysis of the saved model says, and the answers of an executor that serves it by that."""
    files = saved(folder, model, name)
    analysis = described(files)
    with ExecutorProcess(folder) as executor:
        hello = executor.start(analysis.adapter, files, analysis.options)
        assert hello["type"] == "HELLO", hello
        assert hello["signature"] == analysis.options["signature"]
        return analysis, executor.batch(*items)


def together(answers: list[Any], name: str) -> np.ndarray:
    return np.concatenate([each[name] for each in answers])


def in_three(rows: np.ndarray, dtype: str) -> list[dict[str, Any]]:
    return [{"features": rows[a:b].astype(dtype)} for a, b in ((0, 1), (1, 100), (100, len(rows)))]


@pytest.mark.parametrize("name", ["model.ubj", "model.json"])
@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_xgboost_tells_classes_and_probabilities(tmp_path, name, objective):
    rows = gaps(IRIS.data)
    model = xgboost.XGBClassifier(**ROUNDS, objective=objective).fit(rows, IRIS.target)
    analysis, answers = ask(tmp_path, model, name, *in_three(rows, "float32"))
    assert (analysis.format, analysis.adapter, analysis.executes) == ("XGBoost", "xgboost", "no")
    assert analysis.details["trees"] == "36"
    assert np.array_equal(together(answers, "label"), model.predict(rows))
    assert np.abs(together(answers, "probabilities") - model.predict_proba(rows)).max() <= 1e-6


def test_xgboost_stops_where_training_found_the_best_round(tmp_path):
    target = (IRIS.target == 1).astype(int)
    model = xgboost.XGBClassifier(n_estimators=80, n_jobs=1, early_stopping_rounds=5, learning_rate=0.8)
    model.fit(IRIS.data[::2], target[::2], eval_set=[(IRIS.data[1::2], target[1::2])], verbose=False)
    assert model.best_iteration < 60
    analysis, answers = ask(tmp_path, model, "model.ubj", *in_three(IRIS.data, "float32"))
    assert analysis.details["best round"] == str(model.best_iteration)
    assert np.array_equal(together(answers, "label"), model.predict(IRIS.data))
    assert np.abs(together(answers, "probabilities") - model.predict_proba(IRIS.data)).max() <= 1e-6


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_xgboost_predicts_quantities_with_any_booster(tmp_path, booster):
    model = xgboost.XGBRegressor(n_estimators=12, n_jobs=1, booster=booster).fit(
        DIABETES.data, DIABETES.target
    )
    analysis, answers = ask(tmp_path, model, "model.ubj", *in_three(DIABETES.data, "float32"))
    assert analysis.details["booster"] == booster
    assert together(answers, "prediction").shape == DIABETES.target.shape
    assert np.abs(together(answers, "prediction") - model.predict(DIABETES.data)).max() <= 1e-3


def test_xgboost_of_several_targets_answers_a_vector(tmp_path):
    targets = np.c_[DIABETES.target, -DIABETES.target]
    model = xgboost.XGBRegressor(**ROUNDS).fit(DIABETES.data, targets)
    _, answers = ask(tmp_path, model, "model.ubj", *in_three(DIABETES.data, "float32"))
    assert np.abs(together(answers, "prediction") - model.predict(DIABETES.data)).max() <= 1e-4


def test_xgboost_tells_several_labels_at_once(tmp_path):
    targets = np.c_[IRIS.target == 0, IRIS.target >= 1].astype(int)
    model = xgboost.XGBClassifier(**ROUNDS).fit(IRIS.data, targets)
    _, answers = ask(tmp_path, model, "model.ubj", *in_three(IRIS.data, "float32"))
    assert np.array_equal(together(answers, "label"), model.predict(IRIS.data))
    assert np.abs(together(answers, "probabilities") - model.predict_proba(IRIS.data)).max() <= 1e-6


def test_xgboost_takes_columns_by_name_and_codes_of_categories(tmp_path):
    random = np.random.default_rng(1)
    rows = np.c_[random.normal(size=300), random.integers(0, 5, 300)].astype("float32")
    target = rows[:, 0] + np.array([3.0, -2.0, 0.0, 9.0, 1.0])[rows[:, 1].astype(int)]
    names, types = ["age", "city"], ["q", "c"]
    data = xgboost.DMatrix(rows, target, feature_names=names, feature_types=types, enable_categorical=True)
    model = xgboost.train({"max_depth": 3, "nthread": 1, "tree_method": "hist"}, data, 12)
    columns = {"city": rows[:, 1].astype("float32"), "age": rows[:, 0]}  # in any order
    analysis, (answer, missing) = ask(
        tmp_path,
        model,
        "model.json",
        columns,
        {name: values[:1] * np.nan for name, values in columns.items()},
    )
    assert analysis.signature is not None
    assert [each.name for each in analysis.signature.inputs] == names
    assert "code" in analysis.signature.inputs[1].description
    assert np.abs(answer["prediction"] - model.predict(data)).max() <= 1e-5
    assert np.isfinite(missing["prediction"]).all()


def test_infinity_fails_alone(tmp_path):
    model = xgboost.XGBRegressor(**ROUNDS).fit(DIABETES.data, DIABETES.target)
    row = DIABETES.data[:1].astype("float32")
    _, (good, bad) = ask(tmp_path, model, "m.ubj", {"features": row}, {"features": row + np.float32("inf")})
    assert np.isfinite(good["prediction"]).all()
    assert (bad["code"], bad["field"]) == ("invalid_input", "inputs.features")
    assert "null" in bad["message"]


def test_a_model_that_does_not_load_says_why(tmp_path):
    files = saved(tmp_path, xgboost.XGBRegressor(**ROUNDS).fit(DIABETES.data, DIABETES.target), "model.ubj")
    analysis = described(files)
    (files / "model.ubj").write_bytes(b"{L")
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start(analysis.adapter, files, analysis.options)
    assert failed["type"] == "FAILED"
    assert "XGBoost cannot load model.ubj" in failed["message"]


def test_lightgbm_tells_classes_and_probabilities(tmp_path):
    rows = gaps(IRIS.data)
    model = lightgbm.LGBMClassifier(**LEAVES).fit(rows, IRIS.target)
    analysis, answers = ask(tmp_path, model, "model.txt", *in_three(rows, "float64"))
    assert (analysis.format, analysis.adapter, analysis.executes) == ("LightGBM", "lightgbm", "no")
    assert analysis.details["trees"] == "36"
    assert np.array_equal(together(answers, "label"), model.predict(rows))
    assert np.abs(together(answers, "probabilities") - model.predict_proba(rows)).max() <= 1e-12


def test_lightgbm_tells_one_of_two(tmp_path):
    target = (IRIS.target == 1).astype(int)
    model = lightgbm.LGBMClassifier(**LEAVES).fit(IRIS.data, target)
    _, answers = ask(tmp_path, model, "model.txt", *in_three(IRIS.data, "float64"))
    assert np.array_equal(together(answers, "label"), model.predict(IRIS.data))
    assert np.abs(together(answers, "probabilities") - model.predict_proba(IRIS.data)).max() <= 1e-12


def test_lightgbm_predicts_quantities(tmp_path):
    model = lightgbm.LGBMRegressor(**LEAVES).fit(DIABETES.data, DIABETES.target)
    _, answers = ask(tmp_path, model, "model.txt", *in_three(DIABETES.data, "float64"))
    assert np.abs(together(answers, "prediction") - model.predict(DIABETES.data)).max() <= 1e-9


def test_lightgbm_takes_a_tables_categories_as_text(tmp_path):
    """As of a data frame, whose categories LightGBM writes into its file; one that it has not met is missing."""
    random = np.random.default_rng(1)
    cities = ["Bonn", "Köln", "Ulm"]
    rows = np.c_[random.normal(size=400), random.integers(0, 3, 400)]
    target = rows[:, 0] + np.array([3.0, -2.0, 9.0])[rows[:, 1].astype(int)]
    data = lightgbm.Dataset(rows, target, feature_name=["age", "city"], categorical_feature=[1])
    model = lightgbm.train({"verbose": -1, "num_threads": 1}, data, 12)
    model.pandas_categorical = [cities]
    texts = np.array([cities[int(code)] for code in rows[:, 1]])
    one = {"age": np.zeros(1)}
    analysis, (answer, unknown, missing) = ask(
        tmp_path,
        model,
        "model.txt",
        {"age": rows[:, 0], "city": texts},
        one | {"city": np.array(["Rom"])},
        one,
    )
    assert analysis.signature is not None
    assert [(each.name, each.datatype) for each in analysis.signature.inputs] == [
        ("age", "FP64"),
        ("city", "BYTES"),
    ]
    assert analysis.example == {"age": 0.0, "city": "Bonn"}
    assert np.abs(answer["prediction"] - model.predict(rows)).max() <= 1e-12
    for gap in (unknown, missing):
        assert gap["prediction"] == pytest.approx(model.predict(np.array([[0.0, np.nan]])))
    assert [each.optional for each in analysis.signature.inputs] == [False, True]


def test_a_lightgbm_model_that_does_not_load_says_why(tmp_path):
    files = saved(
        tmp_path, lightgbm.LGBMRegressor(**LEAVES).fit(DIABETES.data, DIABETES.target), "model.txt"
    )
    analysis = described(files)
    (files / "model.txt").write_text("tree\nversion=v4\n\n")
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start(analysis.adapter, files, analysis.options)
    assert failed["type"] == "FAILED"
    assert "LightGBM cannot load model.txt" in failed["message"]
