"""Estimators saved by the real scikit-learn, skops, joblib and pickle."""

import io
import pickle
from collections import OrderedDict

import joblib
import numpy
import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent
from support.later import Later

ensemble, linear_model, pipeline = (
    Later(f"sklearn.{name}") for name in ("ensemble", "linear_model", "pipeline")
)
features, selection = Later("sklearn.feature_extraction.text"), Later("sklearn.model_selection")
preprocessing, svm, skops_io = Later("sklearn.preprocessing"), Later("sklearn.svm"), Later("skops.io")

X = numpy.random.default_rng(0).random((40, 3))
Y = numpy.tile([0, 1], 20)


def joblibbed(model, **options) -> bytes:
    file = io.BytesIO()
    joblib.dump(model, file, **options)
    return file.getvalue()


def told(signature):
    return [(spec.name, spec.datatype, spec.shape) for spec in (*signature.inputs, *signature.outputs)]


WAYS = {
    "m.skops": lambda model: skops_io.dumps(model),
    "m.joblib": joblibbed,
    "m.pkl": pickle.dumps,
    "old.pkl": lambda model: pickle.dumps(model, protocol=2),
    "zlib.joblib": lambda model: joblibbed(model, compress=("zlib", 3)),
    "gzip.joblib": lambda model: joblibbed(model, compress=("gzip", 3)),
    "bz2.joblib": lambda model: joblibbed(model, compress=("bz2", 3)),
    "xz.joblib": lambda model: joblibbed(model, compress=("xz", 3)),
    "lzma.joblib": lambda model: joblibbed(model, compress=("lzma", 3)),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_forest_tells_its_signature_however_it_was_saved(files_of, name):
    model = ensemble.RandomForestClassifier(5, random_state=0).fit(X, Y)
    analysis = analyze(files_of({name: WAYS[name](model)}))
    assert told(analysis.signature) == [
        ("features", "FP64", (3,)), ("label", "INT64", ()), ("probabilities", "FP64", (2,)),
    ]  # fmt: skip
    assert analysis.executes == ("no" if name == "m.skops" else "pickle")
    assert analysis.details["estimator"] == "RandomForestClassifier"


def test_text_classes_are_bytes(files_of, skops_bytes, joblib_bytes):
    for name, content in (("m.skops", skops_bytes), ("m.joblib", joblib_bytes)):
        label = analyze(files_of({name: content})).signature.outputs[0]
        assert (label.datatype, label.kind) == ("BYTES", "label")


def test_classes_of_objects_are_read_from_their_nested_pickle(files_of):
    model = linear_model.LogisticRegression().fit(X, numpy.array(["a", "b"], dtype=object)[Y])
    assert analyze(files_of({"m.joblib": joblibbed(model)})).signature.outputs[0].datatype == "BYTES"


def test_feature_names_become_scalar_inputs(files_of):
    model = linear_model.LogisticRegression().fit(X, Y)
    model.feature_names_in_ = numpy.array(["age", "height", "weight"], dtype=object)
    for name in ("m.skops", "m.joblib", "m.pkl"):
        analysis = analyze(files_of({name: WAYS[name](model)}))
        assert told(analysis.signature)[:3] == [
            ("age", "FP64", ()),
            ("height", "FP64", ()),
            ("weight", "FP64", ()),
        ]
        assert "pandas>=2,<4" in analysis.requirements


@pytest.mark.parametrize(
    ("model", "output"),
    [
        (lambda: linear_model.Ridge().fit(X, Y), ("prediction", "FP64", ())),
        (lambda: linear_model.Ridge().fit(X, X[:, :2]), ("prediction", "FP64", (2,))),
        (lambda: ensemble.RandomForestRegressor(3).fit(X, Y), ("prediction", "FP64", ())),
        (lambda: svm.SVC().fit(X, Y), ("label", "INT64", ())),
    ],
)
@pytest.mark.parametrize("name", ["m.skops", "m.joblib"])
def test_outputs_are_those_that_the_estimator_has(files_of, model, output, name):
    assert told(analyze(files_of({name: WAYS[name](model())})).signature)[1:] == [output]


@pytest.mark.parametrize("name", ["m.skops", "m.joblib"])
def test_pipelines_and_searches_are_seen_through(files_of, name):
    search = selection.GridSearchCV(
        pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
        {"logisticregression__C": [1.0]},
    )
    analysis = analyze(files_of({name: WAYS[name](search.fit(X, Y))}))
    assert told(analysis.signature)[0] == ("features", "FP64", (3,))
    assert analysis.details["last step"] == "LogisticRegression"


def test_what_attributes_do_not_tell_is_left_to_the_executor(files_of):
    model = pipeline.make_pipeline(features.TfidfVectorizer(), linear_model.LogisticRegression()).fit(
        ["good day", "bad night"], [0, 1]
    )
    analysis = analyze(files_of({"m.joblib": joblibbed(model)}))
    assert analysis.signature is None
    assert analysis.options["signature"] is None


def test_the_release_that_saved_it_is_required(files_of, joblib_bytes):
    import sklearn

    analysis = analyze(files_of({"m.joblib": joblib_bytes}))
    assert analysis.requirements[0] == f"scikit-learn=={sklearn.__version__}"
    assert analysis.options["loader"] == "joblib"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"weights": [1, 2]}, "a bare dict"),
        ([1, 2], "a bare list"),
        (OrderedDict(a=1), "class collections.OrderedDict"),
        (numpy.zeros(3), "numpy"),
    ],
)
def test_a_pickle_of_something_else_is_told_as_what_it_is(files_of, content, what):
    with pytest.raises(RejectedContent, match=what) as caught:
        analyze(files_of({"m.pkl": pickle.dumps(content)}))
    assert "skops.io.dump" in caught.value.message


def test_an_xgboost_pickle_is_told_by_its_globals(files_of):
    pickled = b"\x80\x04\x8c\x0fxgboost.sklearn\x8c\x0dXGBClassifier\x93)\x81."
    with pytest.raises(RejectedContent, match="an XGBoost model"):
        analyze(files_of({"m.pkl": pickled}))


def test_a_torch_pickle_is_told_by_its_storage(files_of):
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storageQ"
    with pytest.raises(RejectedContent, match="a PyTorch checkpoint"):
        analyze(files_of({"m.pkl": pickled}))


def test_a_class_of_the_authors_script_is_refused(files_of):
    pickled = b"\x80\x04\x8c\x08__main__\x8c\x05Thing\x93)\x81."
    with pytest.raises(RejectedContent, match="defined in the script"):
        analyze(files_of({"m.pkl": pickled}))
