"""Models of every flavour, logged by MLflow itself, with their files in a bucket or a folder: served, or refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy
import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent
from modelyard.onboard.trial import prove
from modelyard.package.environment import Environments
from modelyard.pipeline.sources import bring
from modelyard.store.files import FolderFiles
from support.clouds import Clouds
from support.mlflow_peer import Mlflow

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

REQUIREMENTS = [
    "mlflow>=3.1,<4", "boto3", "scikit-learn", "skops", "xgboost-cpu", "lightgbm", "catboost", "onnx", "onnxruntime",
    "torch==2.13.0", "transformers>=4.50,<6", "tensorflow-cpu>=2.17,<3", "keras>=3", "setuptools",
]  # fmt: skip
# By flavour the format that it becomes, and the output that is compared with what MLflow's model says (None: the same
# library as another's is not loaded twice).
SERVED = {
    "xgboost": ("XGBoost", "prediction"),
    "lightgbm-booster": ("LightGBM", "prediction"),
    "catboost": ("CatBoost", "prediction"),
    "onnx": ("onnx", "y"),
    "sklearn-skops": ("sklearn-skops", "label"),
    "pytorch-pt2": ("torch-export", "output"),
    "pytorch-traced": ("torchscript", None),
    "transformers": ("transformers", "label"),
    "keras-exported": ("tensorflow-savedmodel", "output_0"),
    "tensorflow": ("tensorflow-savedmodel", None),
}
REFUSED = {
    "lightgbm-pickle": "flavour lightgbm cannot be served.*Log its booster",
    "pytorch-script": "flavour pytorch cannot be served.*neither types nor shapes.*serialization_format='pt2'",
    "pytorch-pickle": "flavour pytorch is a module as a pickle.*serialization_format='pt2'",
    "keras-file": "flavour is keras.*save_exported_model=True",
    "tensorflow-keras": "flavour is tensorflow.*save_exported_model=True",
    "pyfunc": r"flavour python_function \(mlflow.pyfunc.model\), which is code that MLflow runs.*model.py",
}


def test_every_flavour_is_served_as_mlflow_answers_or_refused_by_name(
    clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One server, one seed: MLflow's frameworks take a while to be imported."""
    store = clouds.at("s3").variables
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    environment = Environments(tmp_path / "environments").ensure(REQUIREMENTS, lambda _: None)
    (tmp_path / "mlflow").mkdir()
    mlflow = Mlflow(
        environment.python,
        tmp_path / "mlflow",
        {**store, "MLFLOW_S3_ENDPOINT_URL": store["AWS_ENDPOINT_URL"]},
    )
    with mlflow.serve("s3://models/mlflow") as url:
        mlflow.seed(url, ",".join(each.replace("-", "_") for each in (*SERVED, *REFUSED)))
        told = json.loads((mlflow.folder / "answers.json").read_text())
        for flavour, (format, output) in SERVED.items():
            found = bring(
                f"mlflow:models/{flavour}/1", tmp_path / "home", tracking=url, progress=lambda _: None
            )
            analysis = analyze(FolderFiles(found.path))
            assert (analysis.format, analysis.executes) == (format, "no"), flavour
            if output is not None:
                check(found.path, analysis, mlflow.python, told["row"], output, told["answers"][flavour])
            found.forget()
        for flavour, why in REFUSED.items():
            with pytest.raises(RejectedContent, match=f"(?s){why}"):
                bring(
                    f"mlflow:models/{flavour}/1", tmp_path / "home", tracking=url, progress=lambda _: None
                )
    mlflow.seed(str(mlflow.folder / "mlruns"), "xgboost,pytorch_pt2")
    for flavour in ("xgboost", "pytorch-pt2"):
        where = str(mlflow.folder / "mlruns")
        found = bring(
            f"mlflow:models/{flavour}/1", tmp_path / "home", tracking=where, progress=lambda _: None
        )
        assert analyze(FolderFiles(found.path)).format == SERVED[flavour][0]


def check(folder: Path, analysis: Any, python: str, row: list[float], output: str, wanted: Any) -> None:
    """What is served answers the row as MLflow's model did."""
    text = analysis.signature.inputs[0].kind == "text"
    proof = prove(
        folder, analysis, python,
        lambda signature, _: [{signature.inputs[0].name: "good day" if text else row}],
    )  # fmt: skip
    answer = proof.answers[0][output]
    if isinstance(wanted, str):
        assert answer == wanted
    else:
        assert numpy.allclose(numpy.ravel(answer), numpy.ravel(wanted), rtol=1e-4), folder
