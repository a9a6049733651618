"""Objects of the libraries that are installed here as files: written, loaded by another process, compared; no platform."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from math import sqrt as root
from pathlib import Path
from typing import Any

import numpy
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from modelyard.core.errors import InvalidInput, ModelyardError, RejectedContent
from modelyard.objects import function, pushing, saving
from modelyard.objects.library import Given
from modelyard.objects.stages import Stages
from modelyard.objects.terms import wanted_of
from support.later import Later

ensemble, linear_model, pipeline, preprocessing = (
    Later(f"sklearn.{name}") for name in ("ensemble", "linear_model", "pipeline", "preprocessing")
)
features, lightgbm, xgboost = Later("sklearn.feature_extraction.text"), Later("lightgbm"), Later("xgboost")

X = numpy.random.default_rng(0).random((40, 3))
Y = (X[:, 0] > 0.5).astype(int)
FACTOR = {"half": 0.5}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where pushes put what they make; empty again after each."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []


def made(
    model: object, example: object = None, *, trust: bool = False
) -> tuple[dict[str, bytes], Any, int]:
    """The files of a push, its model.yaml, and on how many records it was checked."""
    wanted = wanted_of("m", {"example": example, "trust_pickle": trust}, files=False)
    with saving.place_of("m") as folder:
        result = saving.save(model, folder, wanted, Stages(lambda _: None))
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
    return files, yaml.safe_load(files["model.yaml"]), result.checked


def graph() -> onnx.ModelProto:
    shape = ["n", 2]
    nodes = [helper.make_node("Add", ["a", "a"], ["b"])]
    inputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("b", TensorProto.FLOAT, shape)]
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=opset, ir_version=8
    )


def double(value: float) -> float:
    return 2 * value


def score(x: float, y: float = 1.0) -> dict[str, float]:
    """Uses a module, a constant and a function of this file."""
    return {"score": double(x) * FACTOR["half"] * float(numpy.sqrt(y)) * root(1.0)}


@pytest.mark.parametrize(
    ("model", "example", "file", "records"),
    [
        (lambda: pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()).fit(X, Y), X[:3], "model.skops", 3),
        (lambda: linear_model.LinearRegression().fit(X, X[:, 0]), X[0], "model.skops", 1),
        (lambda: pipeline.make_pipeline(features.TfidfVectorizer(), linear_model.LogisticRegression()).fit(["good", "bad"], ["+", "-"]), ["good day"], "model.skops", 1),
        (lambda: xgboost.XGBClassifier(n_estimators=3).fit(X, Y), X[:2], "model.ubj", 2),
        (lambda: xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, Y), 3), X[:2], "model.ubj", 2),
        (lambda: lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(X, X[:, 1]), X[:2], "model.txt", 2),
        (graph, numpy.ones((2, 2), "float32"), "model.onnx", 2),
    ],
    ids=["pipeline", "regression", "texts", "xgboost", "booster", "lightgbm", "onnx"],
)  # fmt: skip
def test_an_object_is_kept_in_a_format_that_runs_nothing_and_the_same_bytes_each_time(
    model: Callable[[], object], example: object, file: str, records: int
) -> None:
    fitted = model()
    files, described, checked = made(fitted, example)
    assert set(files) == {file, "model.yaml"}
    assert checked == records
    assert described["example"]
    assert f"numpy=={numpy.__version__}" in described["requirements"]
    again, _, _ = made(fitted, example)
    assert {path: hashlib.sha256(data).digest() for path, data in again.items()} == {
        path: hashlib.sha256(data).digest() for path, data in files.items()
    }


def test_a_function_brings_what_it_uses_along() -> None:
    files, described, checked = made(score, {"x": 3.0})
    source = files["model.py"].decode()
    assert "import numpy" in source
    assert "FACTOR = {'half': 0.5}" in source
    assert "def double" in source
    assert "from math import sqrt as root" in source
    assert (described["python"], checked) == (f"3.{sys.version_info.minor}", 1)


def test_trees_of_scikit_learn_need_a_word_of_trust_and_stay_out_of_pickles() -> None:
    forest = ensemble.RandomForestClassifier(n_estimators=2).fit(X, Y)
    with pytest.raises(RejectedContent, match=r"sklearn\.tree\._tree\.Tree.*trust_pickle=True"):
        made(forest, X[:2])
    files, _, checked = made(forest, X[:2], trust=True)
    assert ("model.skops" in files, checked) == (True, 2)


def in_main(kind: type) -> object:
    kind.__module__ = "__main__"
    return kind().fit(X, Y)


@pytest.mark.parametrize(
    ("model", "example", "told"),
    [
        (lambda: linear_model.LogisticRegression(), X, "is not fitted"),
        (lambda: xgboost.XGBClassifier(), X, "is not fitted"),
        (lambda: lightgbm.LGBMClassifier(), X, "is not fitted"),
        (lambda: linear_model.LogisticRegression().fit(X, Y), X[:, :2], r"has the shape \[2\] for 'features'; the model takes \[3\]"),
        (lambda: in_main(type("Mine", (linear_model.LogisticRegression,), {})), X, "defined in __main__"),
        (lambda: linear_model.LogisticRegression, X, "LogisticRegression is a class"),
        (lambda: object(), X, "cannot be pushed. These can: XGBoost.*scikit-learn.*plain function"),
        (lambda: lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, numpy.where(Y, "yes", "no")), X, "does not keep the names of classes"),
        (lambda: preprocessing.StandardScaler().fit(X), "a text", "example"),
        (lambda: lambda x: x, {"x": 1}, "no lambda"),
        (lambda: (lambda y: lambda x: x + y)(1), {"x": 1}, "uses y of the function around it"),
    ],
)  # fmt: skip
def test_what_cannot_be_pushed_is_said_with_its_reason(model: Any, example: object, told: str) -> None:
    with pytest.raises(ModelyardError, match=told):
        made(model(), example)


def test_a_function_that_uses_what_has_no_source_is_refused(tmp_path: Path) -> None:
    table = numpy.zeros(3)
    scope: dict[str, Any] = {"table": table}
    path = tmp_path / "written.py"
    path.write_text("def uses(x):\n    return table[x]\n")
    exec(compile(path.read_text(), str(path), "exec"), scope)
    with pytest.raises(RejectedContent, match="uses table, a ndarray that is no constant"):
        function.save(scope["uses"], tmp_path, Given(None))
    exec("def typed(x):\n    return x\n", scope)
    with pytest.raises(RejectedContent, match="its source is not known"):
        function.save(scope["typed"], tmp_path, Given(None))


def test_an_object_that_answers_otherwise_than_its_files_is_not_sent() -> None:
    class Odd(linear_model.LinearRegression):
        def predict(self, X: Any) -> Any:
            return super().predict(X) + 1

    model = linear_model.LinearRegression().fit(X, X[:, 0])
    model.__class__ = Odd
    Odd.__module__, Odd.__qualname__ = "sklearn.linear_model._base", "LinearRegression"
    Odd.__name__ = "LinearRegression"
    with pytest.raises(
        RejectedContent, match=r"Record 1 of the example, output 'prediction': the object says"
    ):
        made(model, X[:2])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"name": "No Name"}, "cannot be a name"),
        ({"tags": "one"}, "list of words"),
        ({"tags": 5}, "list of words"),
        ({"tags": ["one", 5]}, "list of words"),
        ({"metrics": "0.9"}, r"metrics is a dict of figures, such as \{'accuracy': 0.93\}"),
        ({"metrics": [0.9]}, "metrics is a dict of figures"),
        ({"metrics": []}, "metrics is a dict of figures"),
        ({"description": 5}, "description is a text, not '5'"),
        ({"task": ["x"]}, r"task is a text, not \"\['x'\]\""),
        ({"because": 5}, "because is a text"),
        ({"licence": 5}, "licence is a text"),
        ({"alias": 5}, "alias is a text"),
        ({"name": 5}, "name is a text"),
        ({"licence": "nothing known !"}, "no SPDX identifier"),
        ({"licence": "MTI"}, "Did you mean MIT"),
        ({"replicas": 2}, "deploy=True"),
        ({"deploy": True, "replicaz": 2}, "no option 'replicaz'; did you mean 'replicas'"),
        ({"exmaple": [1]}, "no option 'exmaple'; did you mean 'example'"),
        ({"colour": "red"}, "no option 'colour'"),
        ({"metrics": {"auc": "good"}}, "'auc' is 'good', which is no number"),
        ({"alias": "A B"}, "cannot be a name"),
        ({"alias": "latest"}, "cannot be an alias"),
        ({"sign": 7}, "sign is the path of a private key"),
        ({"sign": "nowhere.pem"}, "There is no private key at 'nowhere.pem'"),
        ({"sign": "-----BEGIN EC PRIVATE KEY-----\nSECRET\n"}, "not the key itself"),
        ({"sign": b"-----BEGIN EC PRIVATE KEY-----\nSECRET\n"}, "not a bytes"),
        ({"sha256": "0" * 64}, "sha256 is for files"),
        ({"name": None}, "push\\(model, NAME\\)"),
        ({"model": "somewhere/m.onnx", "example": X}, "example is for objects"),
        (
            {"model": "foo://x"},
            "Nothing can be fetched from foo://; what is taken is a file or a folder here",
        ),
    ],
)
def test_what_is_wrong_is_said_before_any_work(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        pushing.push(**{"model": object(), "name": "m", **options})
    assert caught.value.field and "SECRET" not in caught.value.message


def test_a_full_disk_is_said_and_nothing_is_left(temporary: Path) -> None:
    script = f"""
        import resource, signal, sys, numpy, tempfile
        tempfile.tempdir = {str(temporary)!r}
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from sklearn.linear_model import LinearRegression
        import modelyard
        X = numpy.random.default_rng(0).random((300, 200))
        model = LinearRegression().fit(X, X)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            modelyard.push(model, "m", example=X[:2], quiet=True)
        except modelyard.core.errors.Unavailable as error:
            print("SAID", error)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120
    )
    assert "SAID There is no room to save the model" in ended.stdout, ended.stderr


def test_an_interruption_leaves_nothing(temporary: Path, tmp_path: Path) -> None:
    script = f"""
        import numpy, tempfile, signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tempfile.tempdir = {str(temporary)!r}
        from sklearn.linear_model import LinearRegression
        import modelyard
        from modelyard.client.progress import StageProgress
        StageProgress.show = lambda self, event: print(event.message, flush=True)
        X = numpy.random.default_rng(0).random((30, 2))
        modelyard.push(LinearRegression().fit(X, X), "m", example=X[:2])
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    while "in another process" not in (line := process.stdout.readline()):
        assert line, process.stderr.read() if process.stderr else ""
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in told


def test_importing_modelyard_loads_no_library_of_models() -> None:
    script = (
        "import sys, modelyard; assert 'push' in dir(modelyard); print(*sorted(sys.modules)); modelyard.push; "
        "print('heavy:', *[name for name in ('numpy', 'torch', 'sklearn', 'pandas', 'xgboost', 'onnx') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded, heavy = told.strip().splitlines()
    assert "msgspec" not in loaded.split()
    assert heavy == "heavy:"
