"""An estimator fitted on a pandas table, served from an environment that has pandas."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.package.environment import Environments

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

FIT = """
import json, sys
from pathlib import Path
import joblib, numpy, pandas
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

out = Path(sys.argv[1])
random = numpy.random.default_rng(0)
table = pandas.DataFrame({"age": random.normal(40, 10, 200), "city": random.choice(["Bonn", "Köln", "Ulm"], 200),
                          "income": random.normal(3, 1, 200),
                          "job": random.choice(["baker", "smith"], 200).astype(object)})
table.loc[::7, "job"] = numpy.nan
target = numpy.where(table["age"] + 5 * (table["city"] == "Ulm") > 42, "yes", "no")
model = make_pipeline(
    ColumnTransformer([("city", OneHotEncoder(), ["city"]), ("age", SimpleImputer(), ["age"]),
                       ("income", StandardScaler(), ["income"]),
                       ("job", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["job"])]),
    LogisticRegression(),
).fit(table, target)
(out / "files").mkdir()
joblib.dump(model, out / "files" / "model.joblib")
table.loc[0, "age"] = float("nan")
table.loc[1, "job"] = "smith"
gap = table.iloc[1:2].assign(job=numpy.array([numpy.nan], dtype=object))
(out / "gap.json").write_text(json.dumps(model.predict_proba(gap).tolist()))
rows = table.head(20).assign(job=table["job"].fillna("baker"))
(out / "expected.json").write_text(json.dumps(
    {"rows": {name: rows[name].tolist() for name in rows}, "labels": model.predict(rows).tolist(),
     "probabilities": model.predict_proba(rows).tolist()}))
"""


def test_columns_come_by_name_with_text_nan_and_categories_as_fitted(
    tmp_path: Path, environments: Environments
):
    environment = environments.ensure(["scikit-learn>=1.5,<2", "pandas>=2", "joblib"])
    subprocess.run([environment.python, "-c", FIT, str(tmp_path)], check=True, capture_output=True)
    expected = json.loads((tmp_path / "expected.json").read_text())
    columns = {name: np.array(values) for name, values in expected["rows"].items()}
    options: dict[str, Any] = {"file": "model.joblib", "loader": "joblib", "signature": None}
    with ExecutorProcess(tmp_path, python=environment.python) as executor:
        hello = executor.start("sklearn", tmp_path / "files", options, trusted=True)
        assert hello["type"] == "HELLO", hello
        one = {name: values[1:2] for name, values in columns.items()}
        gap = {name: values for name, values in one.items() if name != "job"}
        answers = executor.batch(
            columns, one | {"city": np.array(["Rom"])}, one | {"income": np.array([float("nan")])}, one, gap
        )
    assert [(each["name"], each["datatype"]) for each in hello["signature"]["inputs"]] == [
        ("age", "FP64"),
        ("city", "BYTES"),
        ("income", "FP64"),
        ("job", "BYTES"),
    ]
    # A text of which the pipeline takes NaN may be left out.
    assert [each["optional"] for each in hello["signature"]["inputs"]] == [False, False, False, True]
    assert hello["example"] == {"age": 0.0, "city": "Bonn", "income": 0.0, "job": "baker"}
    assert [label.decode() for label in answers[0]["label"]] == expected["labels"]
    assert np.abs(answers[0]["probabilities"] - np.array(expected["probabilities"])).max() <= 1e-12
    assert (answers[1]["field"], answers[2]["field"]) == ("inputs.city", "inputs.income")
    assert answers[3]["label"][0].decode() == expected["labels"][1]
    missing = json.loads((tmp_path / "gap.json").read_text())
    assert np.abs(answers[4]["probabilities"] - np.array(missing)).max() <= 1e-12
    assert np.abs(answers[4]["probabilities"] - answers[3]["probabilities"]).max() > 1e-6
