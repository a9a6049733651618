"""The command lines of the services that this node replaces, word for word but for the address."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.core.signature import ParameterSpec, TensorSpec
from support.models import function_pool
from support.node import NodeProcess

ESM = """
def predict(sequence: str, include_embeddings: bool = True):
    answer = {"sequence": sequence, "sequence_length": len(sequence)}
    if include_embeddings:
        answer["embedding"] = [float(len(sequence))] * 4
    return answer
"""
SERVER = """
def predict(features: list):
    return {"prediction": int(sum(features) > 0), "confidence": 0.75, "model_version": "1.0"}
"""

HEALTH = "curl http://localhost:8000/health | python3 -m json.tool"

SINGLE = """
curl -X POST http://localhost:8000/predict \\
  -H "Content-Type: application/json" \\
  -d '{"sequence": "MKTVRQERLKSIVRILERSKEPVSGAQL", "include_embeddings": false}'
"""

BATCH = """
curl -X POST http://localhost:8000/predict/batch \\
  -H "Content-Type: application/json" \\
  -d '{
    "sequences": [
      "MKTVRQERLKSIVRILERSKEPVSGAQL",
      "KALTARQQEVFDLIRDHISQTGMPPTRAEIAQ",
      "MSGSHHHHHHSSGLVPRGSH",
      "MNIFEMLRIDEGLRLKIYKDTEGYYTIGIGHLL",
      "MVLSPADKTNVKAAWGKVGAHAGEYGAEALERM",
      "GLSDGEWQQVLNVWGKVEADIPGHGQEVLIRLFK",
      "MHSSIVLATVLFVAIASASKTRELCMKSLEHAKVG",
      "DYKDDDDKGSENLYFQSGSHHHHHHSSGLVPRGS"
    ],
    "include_embeddings": false
  }' | python3 -m json.tool
"""

ALIVE = "curl -f http://localhost:8000/health || exit 1"


def run(node: NodeProcess, line: str) -> dict:
    line = line.replace("localhost:8000", f"localhost:{node.port}")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def esm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    root: Path = tmp_path_factory.mktemp("esm")
    pool = function_pool(
        root / "esm", ESM, name="esm",
        inputs=(TensorSpec(name="sequence", datatype="BYTES", kind="text"),),
        outputs=(
            TensorSpec(name="sequence", datatype="BYTES", kind="text"),
            TensorSpec(name="sequence_length", datatype="INT64"),
            TensorSpec(name="embedding", datatype="FP32", shape=(4,), kind="embedding", optional=True),
        ),
        parameters=(ParameterSpec(name="include_embeddings", type="bool"),),
    )  # fmt: skip
    with NodeProcess(root / "home").serve(pool) as node:
        yield node


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    root: Path = tmp_path_factory.mktemp("server")
    pool = function_pool(
        root / "server", SERVER, name="model",
        inputs=(TensorSpec(name="features", datatype="FP64", shape=(-1,)),),
        outputs=(
            TensorSpec(name="prediction", datatype="INT64"),
            TensorSpec(name="confidence", datatype="FP64"),
            TensorSpec(name="model_version", datatype="BYTES", kind="text"),
        ),
    )  # fmt: skip
    with NodeProcess(root / "home").serve(pool) as node:
        yield node


def test_the_esm_services_lines(esm: NodeProcess) -> None:
    assert run(esm, HEALTH)["status"] == "healthy"
    assert run(esm, SINGLE) == {"sequence": "MKTVRQERLKSIVRILERSKEPVSGAQL", "sequence_length": 28}
    predictions = run(esm, BATCH)["predictions"]
    assert [each["sequence_length"] for each in predictions] == [28, 32, 20, 33, 33, 34, 35, 34]
    assert all(len(each["sequence"]) == each["sequence_length"] for each in predictions)


def test_embeddings_are_there_unless_they_are_not_wanted(esm: NodeProcess) -> None:
    assert len(esm.post("/predict", {"sequence": "MKT"})[1]["embedding"]) == 4


def test_one_bad_sequence_costs_the_others_nothing(esm: NodeProcess) -> None:
    status, answer = esm.post("/predict/batch", {"sequences": ["MKT", 7, "MK"]})
    assert status == 200
    assert [each.get("sequence_length") for each in answer["predictions"]] == [3, None, 2]


def test_the_fastapi_servers_contract(server: NodeProcess) -> None:
    assert run(server, ALIVE)["status"] == "healthy"
    assert server.get("/ready") == (200, {"status": "ready", "ready": True})
    assert server.post("/predict", {"features": [1.0, 2.0]}) == (
        200,
        {"prediction": 1, "confidence": 0.75, "model_version": "1.0"},
    )
    records = [{"features": [1.0, 2.0]}, {"features": [-1.0]}]
    assert server.post("/batch_predict", records) == (200, {"predictions": [1, 0]})
    assert server.post("/batch_predict", {"records": records})[1]["predictions"][1]["prediction"] == 0
    assert server.post("/predict/batch", records)[1]["predictions"][0]["confidence"] == 0.75
    assert server.post("/batch_predict", [])[0] == 400
    assert server.post("/batch_predict", [1])[0] == 400


def test_the_tensorflow_serving_request(server: NodeProcess) -> None:
    body = {"instances": [[1.0, 2.0, 3.0]]}
    assert server.post("/v1/models/model:predict", body)[1]["predictions"] == [
        {"prediction": 1, "confidence": 0.75, "model_version": "1.0"}
    ]
