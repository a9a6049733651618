"""The KServe SDK's inference client and mlflow's scoring client, in an environment of their own."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelyard.package.environment import Environments
from serve.protocols.conftest import pools, with_default
from support.node import NodeProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

# What they say goes to standard output as JSON; ``port`` is the node's.
KSERVE = """
import asyncio, json, sys
import numpy
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

url = "http://127.0.0.1:" + sys.argv[1]
x = numpy.array(json.load(sys.stdin), "float32")

async def main():
    said = {}
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    said["live"] = await v2.is_server_live(url)
    said["ready"] = await v2.is_server_ready(url)
    said["model ready"] = await v2.is_model_ready(url, "mlp")
    for binary in (False, True):
        given = InferInput("x", list(x.shape), "FP32")
        given.set_data_from_numpy(x, binary_data=binary)
        wanted = [RequestedOutput("y", {"binary_data": binary})]
        asked = InferRequest("mlp", [given], request_id="mine", request_outputs=wanted)
        answer = await v2.infer(url, asked, model_name="mlp")
        said["binary" if binary else "json"] = answer.outputs[0].as_numpy().tolist()
        said["id"] = answer.id
    text = InferInput("text", [2], "BYTES")
    text.set_data_from_numpy(numpy.array(["banana", "b"], dtype=object), binary_data=True)
    answer = await v2.infer(url, InferRequest("embed", [text]), model_name="embed")
    said["text"] = answer.outputs[0].as_numpy().tolist()
    half = InferInput("half", [2], "FP16")
    half.set_data_from_numpy(numpy.array([1.5, -2.0], "float16"), binary_data=True)
    rest = [
        InferInput("brain", [1], "BF16", data=[1.0]),
        InferInput("flag", [], "BOOL", data=[True]),
        InferInput("blob", [], "BYTES", data=["abc"]),
    ]
    asked = InferRequest(
        "halves", [half, *rest], request_outputs=[RequestedOutput("half", {"binary_data": True})]
    )
    answer = await v2.infer(url, asked, model_name="halves")
    said["half"] = answer.outputs[0].as_numpy().tolist()
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    said["v1 ready"] = await v1.is_model_ready(url, "mlp")
    answer = await v1.infer(url, {"instances": x.tolist()}, model_name="mlp")
    said["v1"] = answer["predictions"]
    await v1.close()
    await v2.close()
    print(json.dumps(said))

asyncio.run(main())
"""

MLFLOW = """
import json, sys
import pandas
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.ping()
frame = pandas.DataFrame({"city": ["york", "bath"], "age": [2.0, 4.0], "visits": [3, 1]})
said = {
    "version": client.get_version(),
    "frame": client.invoke(frame)["predictions"],
    "params": client.invoke(frame, params={"factor": 10.0})["predictions"],
}
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def python(environments: Environments) -> str:
    return environments.ensure(["kserve", "mlflow-skinny", "pandas", "scipy"]).python


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    root: Path = tmp_path_factory.mktemp("clients")
    with NodeProcess(root / "home").serve(*pools(root)) as process:
        with_default(process, "table")
        yield process


def say(python: str, script: str, node: NodeProcess, given: str = "") -> dict:
    done = subprocess.run(
        [python, "-W", "ignore", "-c", script, str(node.port)],
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_kserve_client(python: str, node: NodeProcess) -> None:
    x = np.random.default_rng(1).standard_normal((3, 64)).astype("f")
    wanted = np.array([node.post("/models/mlp/predict", {"x": row.tolist()})[1]["y"] for row in x])
    said = say(python, KSERVE, node, json.dumps(x.tolist()))
    assert said["live"] and said["ready"] and said["model ready"] and said["v1 ready"]
    assert said["id"] == "mine"
    for form in ("json", "binary", "v1"):
        assert np.abs(np.array(said[form]) - wanted).max() <= 1e-5, form
    assert said["text"] == [[6.0, 3.0, 0.5, -1.0], [1.0, 0.0, 0.5, -1.0]]
    assert said["half"] == [3.0, -4.0]


def test_mlflows_scoring_client(python: str, node: NodeProcess) -> None:
    said = say(python, MLFLOW, node)
    assert said["version"]
    wanted = [{"score": 6.0, "city": "YORK"}, {"score": 4.0, "city": "BATH"}]
    assert said["frame"] == wanted
    assert said["params"] == [{"score": 60.0, "city": "YORK"}, {"score": 40.0, "city": "BATH"}]
