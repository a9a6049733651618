"""Fitted estimators behind the executor give exactly what scikit-learn gives in this process."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from executor.process import ExecutorProcess, signature, spec
from support.later import Dataset, Later

cluster, ensemble, linear_model, neighbors, pipeline, preprocessing, svm = (
    Later(f"sklearn.{name}")
    for name in ("cluster", "ensemble", "linear_model", "neighbors", "pipeline", "preprocessing", "svm")
)
features, impute, selection = (
    Later(f"sklearn.{name}") for name in ("feature_extraction.text", "impute", "model_selection")
)
sklearn, skops_io = Later("sklearn"), Later("skops.io")

IRIS, DIABETES = Dataset("iris"), Dataset("diabetes")
NAN = float("nan")


def save(folder: Path, estimator: Any, loader: str = "skops") -> Path:
    files = folder / "files"
    files.mkdir(exist_ok=True)
    if loader == "skops":
        skops_io.dump(estimator, files / "model.skops")
    elif loader == "joblib":
        joblib.dump(estimator, files / "model.joblib")
    else:
        (files / "model.pickle").write_bytes(pickle.dumps(estimator))
    return files


def options(loader: str = "skops", described: Any = None) -> dict[str, Any]:
    return {"file": f"model.{loader}", "loader": loader, "signature": described}


def start(
    executor: ExecutorProcess, tmp_path: Path, estimator: Any, loader: str = "joblib"
) -> dict[str, Any]:
    hello = executor.start("sklearn", save(tmp_path, estimator, loader), options(loader), trusted=True)
    assert hello["type"] == "HELLO", hello
    return hello


def names(specs: list[dict[str, Any]]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(each["name"], each["datatype"], tuple(each["shape"])) for each in specs]


@pytest.mark.parametrize("loader", ["skops", "joblib", "pickle"])
def test_a_classifier_answers_labels_and_probabilities_equal_to_the_librarys(tmp_path, loader):
    model = ensemble.RandomForestClassifier(n_estimators=30, random_state=1, n_jobs=-1).fit(
        IRIS.data, IRIS.target
    )
    with ExecutorProcess(tmp_path) as executor:
        hello = start(executor, tmp_path, model, loader)
        answers = executor.batch(*[{"features": IRIS.data[a:b]} for a, b in ((0, 1), (1, 100), (100, 150))])
    assert names(hello["signature"]["inputs"]) == [("features", "FP64", (4,))]
    assert names(hello["signature"]["outputs"]) == [("label", "INT64", ()), ("probabilities", "FP64", (3,))]
    assert hello["example"] == {"features": [0.0, 0.0, 0.0, 0.0]}
    assert np.array_equal(np.concatenate([each["label"] for each in answers]), model.predict(IRIS.data))
    probabilities = np.concatenate([each["probabilities"] for each in answers])
    assert np.abs(probabilities - model.predict_proba(IRIS.data)).max() <= 1e-12


def test_a_safe_skops_file_needs_no_trust(tmp_path):
    model = linear_model.LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)
    with ExecutorProcess(tmp_path) as executor:
        hello = executor.start("sklearn", save(tmp_path, model), options())
        (answer,) = executor.batch({"features": IRIS.data})
    assert hello["type"] == "HELLO"
    assert np.abs(answer["probabilities"] - model.predict_proba(IRIS.data)).max() <= 1e-12


def test_text_classes_are_answered_as_text(tmp_path):
    target = np.array(["rot", "grün", "blau"])[IRIS.target]
    model = linear_model.LogisticRegression(max_iter=1000).fit(IRIS.data, target)
    with ExecutorProcess(tmp_path) as executor:
        hello = start(executor, tmp_path, model)
        (answer,) = executor.batch({"features": IRIS.data})
    assert [(each["datatype"], each["kind"]) for each in hello["signature"]["outputs"][:1]] == [
        ("BYTES", "label")
    ]
    assert [label.decode() for label in answer["label"]] == model.predict(IRIS.data).tolist()
    assert "blau, grün, rot" in hello["signature"]["outputs"][1]["description"]


def test_a_regressor_answers_predictions(tmp_path):
    model = ensemble.GradientBoostingRegressor(random_state=0).fit(DIABETES.data, DIABETES.target)
    with ExecutorProcess(tmp_path) as executor:
        hello = start(executor, tmp_path, model)
        (answer,) = executor.batch({"features": DIABETES.data})
    assert names(hello["signature"]["outputs"]) == [("prediction", "FP64", ())]
    assert np.abs(answer["prediction"] - model.predict(DIABETES.data)).max() <= 1e-12


def test_a_regressor_of_several_targets_answers_a_vector(tmp_path):
    model = linear_model.LinearRegression().fit(DIABETES.data, np.c_[DIABETES.target, -DIABETES.target])
    with ExecutorProcess(tmp_path) as executor:
        hello = start(executor, tmp_path, model)
        (answer,) = executor.batch({"features": DIABETES.data[:3]})
    assert names(hello["signature"]["outputs"]) == [("prediction", "FP64", (2,))]
    assert np.abs(answer["prediction"] - model.predict(DIABETES.data[:3])).max() <= 1e-12


@pytest.mark.parametrize(
    ("model", "output", "compute"),
    [
        (lambda: preprocessing.StandardScaler(), "output", "transform"),
        (lambda: preprocessing.OneHotEncoder(handle_unknown="ignore"), "output", "transform"),
        (lambda: cluster.KMeans(3, random_state=0, n_init=1), "label", "predict"),
        (lambda: ensemble.IsolationForest(n_estimators=20, random_state=0), "label", "predict"),
        (lambda: svm.SVC(), "label", "predict"),
    ],
)
def test_transformers_clusterers_and_detectors_answer_what_the_library_does(
    tmp_path, model, output, compute
):
    model = model().fit(IRIS.data, IRIS.target)
    with ExecutorProcess(tmp_path) as executor:
        hello = start(executor, tmp_path, model)
        (answer,) = executor.batch({"features": IRIS.data})
    expected = getattr(model, compute)(IRIS.data)
    expected = expected.toarray() if hasattr(expected, "toarray") else expected
    assert [each["name"] for each in hello["signature"]["outputs"]] == [output]
    assert np.abs(answer[output] - expected).max() <= 1e-12


def test_a_pipeline_over_texts_takes_text(tmp_path):
    texts = ["good film", "bad film", "great", "awful and bad"]
    model = pipeline.make_pipeline(features.TfidfVectorizer(), linear_model.LogisticRegression()).fit(
        texts, [1, 0, 1, 0]
    )
    with ExecutorProcess(tmp_path) as executor:
        hello = start(executor, tmp_path, model)
        answers = executor.batch({"text": np.array(texts)}, {"text": np.array(["größer, good"])})
    assert names(hello["signature"]["inputs"]) == [("text", "BYTES", ())]
    expected = model.predict_proba([*texts, "größer, good"])
    assert np.abs(np.concatenate([each["probabilities"] for each in answers]) - expected).max() <= 1e-12


def test_a_search_serves_its_best_estimator(tmp_path):
    model = selection.GridSearchCV(svm.SVC(), {"C": [0.1, 10.0]}, n_jobs=1).fit(IRIS.data, IRIS.target)
    with ExecutorProcess(tmp_path) as executor:
        start(executor, tmp_path, model)
        (answer,) = executor.batch({"features": IRIS.data})
    assert np.array_equal(answer["label"], model.predict(IRIS.data))


def test_feature_names_become_scalar_inputs_in_the_estimators_order_whatever_order_they_come_in(tmp_path):
    model = linear_model.LinearRegression().fit(DIABETES.data[:, :3], DIABETES.target)
    model.feature_names_in_ = np.array(["age", "sex", "bmi"], dtype=object)
    rows = DIABETES.data[:5, :3]
    with ExecutorProcess(tmp_path) as executor:
        hello = start(executor, tmp_path, model)
        (answer,) = executor.batch({"bmi": rows[:, 2], "age": rows[:, 0], "sex": rows[:, 1]})
        log = executor.log
    assert names(hello["signature"]["inputs"]) == [(name, "FP64", ()) for name in ("age", "sex", "bmi")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.abs(answer["prediction"] - model.predict(rows)).max() <= 1e-12
    assert "feature names" not in log


def test_nan_is_refused_for_its_item_alone(tmp_path):
    model = linear_model.LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)
    bad = {value: IRIS.data[:2].copy() for value in ("nan", "inf")}
    for value, rows in bad.items():
        rows[1, 2] = float(value)
    with ExecutorProcess(tmp_path) as executor:
        start(executor, tmp_path, model)
        answers = executor.batch(
            {"features": IRIS.data[:2]},
            {"features": bad["nan"]},
            {"features": bad["inf"]},
            {"features": IRIS.data[5:7]},
        )
    assert [answers[index]["code"] for index in (1, 2)] == ["invalid_input"] * 2
    assert [answers[index]["field"] for index in (1, 2)] == ["inputs.features"] * 2
    assert "NaN" in answers[1]["message"] and "infinity" in answers[2]["message"]
    assert np.array_equal(answers[3]["label"], model.predict(IRIS.data[5:7]))


@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        (lambda: ensemble.HistGradientBoostingClassifier(max_iter=5), True),
        (
            lambda: pipeline.make_pipeline(
                impute.SimpleImputer(), linear_model.LogisticRegression(max_iter=1000)
            ),
            True,
        ),
        (
            lambda: pipeline.make_pipeline(
                preprocessing.StandardScaler(), linear_model.LogisticRegression()
            ),
            False,
        ),
        (lambda: neighbors.KNeighborsClassifier(3), False),
    ],
)
def test_nan_is_accepted_by_exactly_those_models_that_can_take_it(tmp_path, model, allowed):
    model = model().fit(IRIS.data, IRIS.target)
    rows = np.full((1, 4), NAN)
    with ExecutorProcess(tmp_path) as executor:
        start(executor, tmp_path, model)
        (answer,) = executor.batch({"features": rows})
    if allowed:
        assert np.abs(answer["probabilities"] - model.predict_proba(rows)).max() <= 1e-12
    else:
        assert answer["field"] == "inputs.features"


def test_a_number_that_single_precision_trees_cannot_hold_is_the_callers_error(tmp_path):
    model = ensemble.RandomForestClassifier(3, random_state=0).fit(IRIS.data, IRIS.target)
    with ExecutorProcess(tmp_path) as executor:
        start(executor, tmp_path, model)
        (answer,) = executor.batch({"features": np.full((1, 4), 1e200)})
    assert (answer["code"], answer["field"]) == ("invalid_input", "inputs.features")


def test_a_category_that_the_encoder_does_not_know_is_the_callers_error(tmp_path):
    rows = np.array([["a"], ["b"]] * 10, dtype=object)
    model = pipeline.make_pipeline(preprocessing.OneHotEncoder(), linear_model.LogisticRegression())
    model.fit(rows, [0, 1] * 10)
    model[0].feature_names_in_ = np.array(["city"], dtype=object)
    with ExecutorProcess(tmp_path) as executor:
        hello = start(executor, tmp_path, model)
        answers = executor.batch({"city": np.array(["b"])}, {"city": np.array(["c"])})
    assert hello["example"] == {"city": "a"}
    assert answers[0]["label"].tolist() == [1]
    assert (answers[1]["code"], answers[1]["field"]) == ("invalid_input", "inputs.city")
    assert "it knows a, b" in answers[1]["message"]


@pytest.mark.parametrize("loader", ["joblib", "pickle"])
def test_a_pickle_is_not_opened_without_trust(tmp_path, loader):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "opened",))

    files = tmp_path / "files"
    files.mkdir()
    (files / f"model.{loader}").write_bytes(pickle.dumps(Trap()))
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start("sklearn", files, options(loader))
        assert executor.wait() == 1
    assert "--trust-pickle" in failed["message"]
    assert not (tmp_path / "opened").exists()


class Doubler:
    """A type that skops does not know."""

    def fit(self, rows: Any, target: Any = None) -> "Doubler":
        self.n_features_in_ = rows.shape[1]
        return self

    def predict(self, rows: Any) -> Any:
        return rows[:, 0] * 2


def test_types_that_skops_does_not_know_are_listed_and_refused_without_trust(tmp_path):
    model = preprocessing.FunctionTransformer(Doubler().predict)
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start("sklearn", save(tmp_path, model.fit(IRIS.data)), options())
    assert failed["type"] == "FAILED"
    assert "Doubler" in failed["message"] and "--trust-pickle" in failed["message"]


def test_a_missing_module_is_named(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "model.pickle").write_bytes(b"cno_such_package\nThing\n.")
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start("sklearn", files, options("pickle"), trusted=True)
    assert "'no_such_package'" in failed["message"] and "requirements" in failed["message"]


def test_a_file_that_holds_no_estimator_is_refused(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start(
            "sklearn", save(tmp_path, {"a": 1}, "joblib"), options("joblib"), trusted=True
        )
    assert "holds a dict" in failed["message"]


def test_a_model_of_another_version_of_the_library_says_so_in_the_log(tmp_path, monkeypatch):
    model = linear_model.LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)
    monkeypatch.setattr("sklearn.base.__version__", "0.99.0")
    files = save(tmp_path, model, "joblib")
    with ExecutorProcess(tmp_path) as executor:
        executor.start("sklearn", files, options("joblib"), trusted=True)
        log = executor.log
    assert "InconsistentVersionWarning" in log and "0.99.0" in log and sklearn.__version__ in log


def test_a_given_signature_is_kept_and_may_leave_outputs_out(tmp_path):
    model = linear_model.LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)
    described = signature([spec("flower", "FP32", (4,))], [spec("label", "INT64")], batched=True)
    with ExecutorProcess(tmp_path) as executor:
        hello = executor.start("sklearn", save(tmp_path, model), options(described=described))
        (answer,) = executor.batch({"flower": IRIS.data[:4].astype("float32")})
    assert hello["signature"] == described
    assert list(answer) == ["label"]


def test_a_signature_with_an_output_that_the_estimator_does_not_have_is_refused(tmp_path):
    model = linear_model.LinearRegression().fit(DIABETES.data, DIABETES.target)
    described = signature([spec("features", "FP64", (10,))], [spec("label", "INT64")], batched=True)
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start("sklearn", save(tmp_path, model), options(described=described))
    assert "the estimator gives prediction" in failed["message"]
