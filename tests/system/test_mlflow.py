"""A registry of MLflow, made by MLflow itself, comes here: from its server, its database and its folder; twice is once."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from modelyard.package.environment import Environments
from support.node import wait_until
from support.ports import free_port
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

SEED = """
import sys, warnings, numpy, mlflow, mlflow.sklearn, mlflow.xgboost, xgboost
from sklearn.linear_model import LogisticRegression

mlflow.set_tracking_uri(sys.argv[1])
X = numpy.random.default_rng(0).random((60, 4))
y = (X[:, 0] > 0.5).astype(int)
pins = {"pip_requirements": ["numpy==" + numpy.__version__, "xgboost-cpu==" + xgboost.__version__]}
with mlflow.start_run() as run:
    model = xgboost.XGBClassifier(n_estimators=3).fit(X, y)
    mlflow.log_metric("auc", 0.9)
    mlflow.log_param("rounds", 3)
    mlflow.xgboost.log_model(model, name="model", registered_model_name="Churn Rate", input_example=X[:2], **pins)
    print(run.info.run_id)
with mlflow.start_run():
    mlflow.sklearn.log_model(
        LogisticRegression().fit(X, y), name="model", registered_model_name="fraud", serialization_format="cloudpickle",
        pip_requirements=["scikit-learn", "cloudpickle", "numpy"],
    )
client = mlflow.MlflowClient()
client.set_registered_model_alias("Churn Rate", "champion", 1)
client.set_model_version_tag("Churn Rate", "1", "team", "Growth")
client.update_model_version("Churn Rate", "1", description="Who leaves.")
"""


class Peer(NamedTuple):
    """MLflow's Python, and a folder that it may write."""

    python: str
    folder: Path

    def seed(self, uri: str) -> str:
        """Fill the registry at ``uri``; the first run."""
        script = self.folder / "seed.py"
        script.write_text(SEED)
        ended = subprocess.run(
            [self.python, str(script), uri], capture_output=True, text=True, timeout=600, cwd=self.folder,
            env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "GIT_PYTHON_REFRESH": "quiet"},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return next(line for line in ended.stdout.splitlines() if len(line) == 32)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Its server, which gives its artifacts out itself."""
        port = free_port()
        store, log = self.folder / "server.db", self.folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self.python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
                 "--backend-store-uri", f"sqlite:///{store}", "--artifacts-destination", str(self.folder / "art")],
                stdout=output, stderr=output, cwd=self.folder, start_new_session=True,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # nine processes more
            )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(f"{url}/health"), timeout=300)
            yield url
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory, environments: Environments) -> Peer:
    folder = tmp_path_factory.mktemp("mlflow")
    requirements = ["mlflow>=3.1,<4", "scikit-learn", "xgboost-cpu", "setuptools"]
    environment = environments.ensure(requirements, lambda _: None)
    return Peer(environment.python, folder)


def states(told: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {f"{row['name']}/{row['number']}": row["state"] for row in told["versions"]}


def imported(shell: Shell, *arguments: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    ended = shell.run("models", "import-mlflow", *arguments, "--json")
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_a_server_s_registry_comes_with_its_story_and_only_once(shell: Shell, mlflow: Peer) -> None:
    with mlflow.serve() as url:
        run = mlflow.seed(url)
        shell.run("up")
        code, told = imported(shell, "--all", "--tracking-uri", url)
        assert (code, states(told)) == (1, {"Churn Rate/1": "imported", "fraud/1": "refused"})
        assert "pickle" in told["versions"][1]["why"]
        assert states(imported(shell, "--all", "--tracking-uri", url)[1])["Churn Rate/1"] == "there"
        code, told = imported(shell, "fraud", "--tracking-uri", url, "--trust-pickle", "--because", "ours")
        assert (code, states(told)) == (0, {"fraud/1": "imported"})
        shell.environment["MLFLOW_TRACKING_URI"] = url
        by_run = shell.json("models", "push", "mlflow:models/Churn Rate@champion", "--name", "again")
        assert by_run["new"] is True
        for named, why in (
            ("models/fraud/7", "no version 7"),
            ("models/none/1", "RESOURCE_DOES_NOT_EXIST|no such thing|no version"),
            ("runs/abc/model", "no such thing"),
        ):
            refused = shell.run("models", "push", f"mlflow:{named}")
            assert refused.returncode == 1, refused.stdout
            assert any(each in refused.stderr for each in why.split("|")), refused.stderr
    shown = shell.json("models", "show", "churn-rate/1")
    said = json.dumps(shown)
    assert run in said
    card = shell.json("models", "card", "churn-rate")["card"]
    assert card["tags"] == ["team-growth"]
    assert card["metrics"][0]["rows"] == [["auc", 0.9]]
    assert "Who leaves." in card["text"]
    assert shell.json("models", "alias", "churn-rate")["aliases"] == {"champion": 1}
    deployed = shell.json("deploy", "churn-rate@champion")
    assert deployed["state"] == "ready"
    assert len(deployed["example"]["features"]) == 4


def test_a_database_is_read_without_a_server(shell: Shell, mlflow: Peer, tmp_path: Path) -> None:
    mlflow.seed(f"sqlite:///{tmp_path / 'ml.db'}")
    shell.run("up")
    code, told = imported(shell, "--all", "--tracking-uri", f"sqlite:///{tmp_path / 'ml.db'}")
    assert (code, states(told)) == (1, {"Churn Rate/1": "imported", "fraud/1": "refused"})
    assert (
        shell.run(
            "models", "import-mlflow", "none", "--tracking-uri", f"sqlite:///{tmp_path / 'ml.db'}"
        ).returncode
        == 1
    )
    (tmp_path / "other.db").write_bytes(b"no database at all" * 100)
    refused = shell.run(
        "models", "import-mlflow", "--all", "--tracking-uri", f"sqlite:///{tmp_path / 'other.db'}"
    )
    assert "cannot be read as a database of MLflow" in refused.stderr


def test_where_mlflow_is_has_to_be_said(shell: Shell) -> None:
    for arguments, code, told in (
        (["models", "import-mlflow"], 2, "--all"),
        (["models", "push", "mlflow:models/a/1"], 1, "MLFLOW_TRACKING_URI"),
        (["models", "push", "mlflow:models/a/1", "--tracking-uri", "databricks://x"], 1, "not read here"),
        (["models", "push", "mlflow:models/a/1", "--tracking-uri", "/no/folder"], 1, "no folder"),
        (["models", "push", "mlflow:nothing"], 1, "names no model of MLflow"),
    ):
        refused = shell.run(*arguments)
        assert (refused.returncode, told in refused.stderr) == (code, True), refused.stderr
    assert sys.executable
