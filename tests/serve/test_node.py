"""A real node with real executors: the two protocols and their errors."""

import json

import numpy as np
import pytest

from modelyard.core.signature import ParameterSpec, TensorSpec
from support.models import function_pool
from support.node import NodeProcess


def infer_body(x: np.ndarray, **changes: object) -> dict:
    tensor = {
        "name": "x",
        "shape": list(x.shape),
        "datatype": "FP32",
        "data": x.ravel().tolist(),
        **changes,
    }
    return {"inputs": [tensor]}


def test_v2_answers_what_onnxruntime_answers(node: NodeProcess) -> None:
    x = np.random.default_rng(1).standard_normal((3, 64)).astype("f")
    status, answer = node.post("/v2/models/mlp/infer", infer_body(x) | {"id": "mine"})
    assert status == 200
    (output,) = answer["outputs"]
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("mlp", "1", "mine")
    assert (output["name"], output["shape"], output["datatype"]) == ("y", [3, 10], "FP32")
    expected = node.model.run(None, {"x": x})[0]
    assert np.abs(np.array(output["data"]).reshape(3, 10) - expected).max() <= 1e-5


def test_v2_takes_nested_data_and_chosen_outputs(node: NodeProcess) -> None:
    x = np.ones((1, 64), "f")
    body = infer_body(x, data=x.tolist()) | {"outputs": [{"name": "y"}]}
    assert node.post("/v2/models/mlp/versions/1/infer", body)[0] == 200


def test_v2_describes_server_and_model(node: NodeProcess) -> None:
    assert node.get("/v2")[1]["name"] == "modelyard"
    status, metadata = node.get("/v2/models/mlp")
    assert status == 200
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}]
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 10]}]
    assert node.get("/v2/models/mlp/ready")[0] == 200
    assert node.get("/v2/health/live")[0] == 200
    assert node.get("/v2/health/ready")[0] == 200


def test_a_record_goes_in_and_a_record_comes_out(node: NodeProcess) -> None:
    x = np.random.default_rng(2).standard_normal(64).astype("f")
    status, answer = node.post("/models/mlp/predict", {"x": x.tolist()})
    assert status == 200
    assert np.abs(np.array(answer["y"]) - node.model.run(None, {"x": x[None]})[0][0]).max() <= 1e-5
    assert node.post("/models/echo/predict", {"text": "ab", "times": 2}) == (200, {"output": "abab"})
    assert node.post("/models/echo/predict", {"text": "ab"}) == (200, {"output": "ab"})


def test_the_default_endpoint_answers_at_the_short_paths(node: NodeProcess) -> None:
    x = [0.0] * 64
    assert node.post("/predict", {"x": x})[0] == 200
    for path in ("/predict/batch", "/batch_predict"):
        assert len(node.post(path, {"records": [{"x": x}] * 3})[1]["predictions"]) == 3


def test_a_batch_answers_in_order_with_each_error_in_its_place(node: NodeProcess) -> None:
    records = [{"text": "a"}, {"text": "boom"}, {"text": "b", "times": "two"}, {"text": "c"}]
    status, answer = node.post("/models/echo/predict/batch", {"records": records})
    first, raised, invalid, last = answer["predictions"]
    assert status == 200
    assert (first, last) == ({"output": "a"}, {"output": "c"})
    assert raised["code"] == "internal"
    assert "no boom, please" in raised["error"]
    assert (invalid["code"], invalid["field"]) == ("invalid_input", "records[2].times")


def test_calls_of_several_callers_in_one_batch_do_not_share_an_error(tmp_path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    code = (
        "import time\ndef predict(x: float):\n    time.sleep(0.1)\n"
        "    if x == 13:\n        raise ValueError('not thirteen')\n    return x\n"
    )
    with (
        NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node,
        ThreadPoolExecutor(20) as clients,
    ):
        answers = list(clients.map(lambda n: node.post("/predict", {"x": float(n)}), range(20)))
    for number, (status, answer) in enumerate(answers):
        if number == 13:
            assert (status, answer["code"]) == (500, "internal")
            assert "not thirteen" in answer["error"]
        else:
            assert (status, answer) == (200, {"output": float(number)})


def test_a_batch_may_come_as_columns(node: NodeProcess) -> None:
    status, answer = node.post("/models/echo/predict/batch", {"texts": ["a", "b"], "times": [1, 2]})
    assert (status, answer["predictions"]) == (200, [{"output": "a"}, {"output": "bb"}])


GOOD = infer_body(np.zeros((1, 64), "f"))


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "field"),
    [
        ("/v2/models/nobody/infer", GOOD, 404, "not_found", "model"),
        ("/v2/models/mlp/versions/7/infer", GOOD, 404, "not_found", "version"),
        ("/v2/models/mlp/infer", {}, 400, "invalid_input", "body"),
        ("/v2/models/mlp/infer", {"inputs": []}, 400, "invalid_input", "inputs"),
        ("/v2/models/mlp/infer", GOOD | {"colour": 1}, 400, "invalid_input", "body"),
        ("/v2/models/mlp/infer", GOOD | {"parameters": {"k": 1}}, 400, "invalid_input", "parameters.k"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 64)), name="z"), 400, "invalid_input", "inputs[0].name"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 63))), 400, "invalid_input", "inputs[0].shape"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((0, 64))), 400, "invalid_input", "inputs[0].shape"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 64)), shape=[1, -64]), 400, "invalid_input", "inputs[0].shape"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 64)), shape=[64]), 400, "invalid_input", "inputs[0].shape"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 64)), datatype="FP64"), 400, "invalid_input", "inputs[0].datatype"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 64)), datatype="F32"), 400, "invalid_input", "inputs[0].datatype"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 64)), data=["a"] * 64), 400, "invalid_input", "inputs[0].data[0]"),
        ("/v2/models/mlp/infer", {"inputs": GOOD["inputs"] * 2}, 400, "invalid_input", "inputs[1].name"),
        ("/v2/models/mlp/infer", GOOD | {"outputs": [{"name": "q"}]}, 400, "invalid_input", "outputs[0].name"),
        ("/models/echo/predict", {}, 400, "invalid_input", "text"),
        ("/models/echo/predict", {"text": "a", "other": 1}, 400, "invalid_input", "other"),
        ("/models/echo/predict", {"text": ["a"]}, 400, "invalid_input", "text"),
        ("/models/echo/predict", {"text": None}, 400, "invalid_input", "text"),
        ("/models/mlp/predict", {"x": [0.0] * 63}, 400, "invalid_input", "x"),
        ("/models/mlp/predict", {"x": [[0.0] * 64]}, 400, "invalid_input", "x"),
        ("/models/mlp/predict", {"x": [0.0, 1e39] + [0.0] * 62}, 400, "invalid_input", "x[1]"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 64)), data=[0.0, 1e39] + [0.0] * 62), 400, "invalid_input", "inputs[0].data[1]"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 64)), extra=1), 400, "invalid_input", "inputs[0]"),
        ("/v2/models/mlp/infer", infer_body(np.zeros((1, 64)), shape=[2, 64]), 400, "invalid_input", "inputs[0].shape"),
        ("/models/echo/predict/batch", {"records": []}, 400, "invalid_input", "records"),
        ("/models/echo/predict/batch", {"records": [1]}, 400, "invalid_input", "records[0]"),
        ("/models/echo/predict/batch", {"texts": ["a"], "times": [1, 2]}, 400, "invalid_input", "records"),
        ("/models/echo/predict/batch", {"colours": ["a"]}, 400, "invalid_input", "colours"),
        ("/models/echo/predict", {"text": "boom"}, 500, "internal", None),
        ("/nowhere", {}, 404, "not_found", None),
    ],
)  # fmt: skip
def test_a_wrong_call_gets_its_code_and_the_field_at_fault(
    node: NodeProcess, path: str, body: dict, status: int, code: str, field: str | None
) -> None:
    got, answer = node.post(path, body)
    assert (got, answer["code"], answer.get("field")) == (status, code, field)
    assert answer["error"].endswith((".", "\n", "endpoints", "please"))
    assert answer["request_id"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b'{"inputs": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"text": ' * 5000,
        b'{"x": 1e999}',
        b'{"text": "\xff"}',
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": ' + b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("path", ["/v2/models/mlp/infer", "/models/echo/predict", "/predict/batch"])
def test_rubbish_is_invalid_input(node: NodeProcess, path: str, body: bytes) -> None:
    status, _, answer = node.call("POST", path, body, {"content-type": "application/json"})
    assert (status, json.loads(answer)["code"]) == (400, "invalid_input")


def test_another_content_type_is_told(node: NodeProcess) -> None:
    status, _, answer = node.call(
        "POST", "/predict", b"{}", {"content-type": "application/x-www-form-urlencoded"}
    )
    assert (status, json.loads(answer)["field"]) == (400, "content-type")


def test_metrics_count_calls_by_code(node: NodeProcess) -> None:
    node.post("/models/echo/predict", {"text": "a"})
    text = node.call("GET", "/metrics")[2].decode()
    assert 'modelyard_calls_total{code="ok",endpoint="echo",version="1"}' in text
    assert "modelyard_latency_seconds_bucket" in text
    assert 'modelyard_replicas_ready{deployment="echo-1",endpoint="echo"} 1.0' in text


def test_the_internal_paths_need_the_nodes_key(node: NodeProcess) -> None:
    assert node.get("/node/status")[0] == 403
    assert node.get("/node/status", {"authorization": "Bearer wrong"})[0] == 403
    assert {pool.endpoint for pool in node.status().pools} == {"mlp", "echo"}


@pytest.mark.parametrize("deployment", ["..", "a%2f..%2f..%2fkey", "%2e%2e", "x" * 200])
def test_logs_never_leave_their_folder(node: NodeProcess, deployment: str) -> None:
    from support.node import KEY

    status, body = node.get(f"/node/logs/{deployment}", {"authorization": f"Bearer {KEY}"})
    assert (status, body["code"]) in [(400, "invalid_input"), (404, "not_found")]


def test_the_inputs_of_one_call_have_the_same_rows_and_no_more_than_the_model_takes() -> None:
    from types import SimpleNamespace

    from modelyard.core.deployment import ServingOptions
    from modelyard.core.errors import InvalidInput
    from modelyard.core.signature import Signature
    from modelyard.serve.call import DEFAULTS, RawTensor
    from modelyard.serve.checks import checked_call

    specs = (TensorSpec(name="a", datatype="INT8"), TensorSpec(name="b", datatype="INT8"))
    signature = Signature(inputs=specs, outputs=(), max_batch=3)
    served = SimpleNamespace(endpoint="m", serving=ServingOptions(), signature=signature)

    def check(a: int, b: int) -> int:
        inputs = [RawTensor(name, "INT8", (rows,), bytes(rows)) for name, rows in (("a", a), ("b", b))]
        return checked_call(served, inputs, {}, DEFAULTS).rows

    assert check(3, 3) == 3
    for rows, field in [((2, 3), "inputs[1].shape"), ((4, 4), "inputs[0].shape")]:
        with pytest.raises(InvalidInput) as refused:
            check(*rows)
        assert refused.value.field == field


def test_the_node_itself_checks_what_a_model_answers() -> None:
    """Adapters check too; the node does not rely on it."""
    from modelyard.core.errors import Internal
    from modelyard.serve.answers import checked_answer
    from modelyard.serve.call import RawTensor

    expected = {"y": ("INT8", (-1, 2))}
    good = (RawTensor("y", "INT8", (1, 2), b"ab"),)
    assert checked_answer(expected, good) is good
    for bad in [
        RawTensor("y", "INT8", (1, 3), b"abc"),
        RawTensor("y", "UINT8", (1, 2), b"ab"),
        RawTensor("z", "INT8", (1, 2), b"ab"),
        RawTensor("y", "INT8", (1, 2), b"abc"),
    ]:
        assert isinstance(checked_answer(expected, (bad,)), Internal)


def test_parameters_are_checked_and_stay_with_their_call(tmp_path) -> None:
    code = "def predict(text: str, **options):\n    return options\n"
    pool = function_pool(
        tmp_path / "m",
        code,
        inputs=(TensorSpec(name="text", datatype="BYTES", kind="text"),),
        parameters=(
            ParameterSpec(name="loud", type="bool", default=False),
            ParameterSpec(name="seed", type="int", default=0),
        ),
    )
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        status, answer = node.post("/predict", {"text": "a", "seed": 2**63})
        assert (status, answer["field"]) == (400, "parameters.seed")
        status, answer = node.post("/predict", {"text": "a", "loud": "yes"})
        assert (status, answer["field"]) == (400, "parameters.loud")


def test_rows_of_nothing_are_refused(node: NodeProcess) -> None:
    body = {"inputs": [{"name": "x", "shape": [500_000_000, 0], "datatype": "FP32", "data": []}]}
    assert node.post("/v2/models/mlp/infer", body)[0] == 400


@pytest.mark.parametrize("value", [3.4028235677973366e38, 70000, 10**400])
def test_the_largest_numbers_are_refused_and_no_fault_of_ours(node: NodeProcess, value: float) -> None:
    status, answer = node.post("/models/mlp/predict", {"x": [0.0] * 63 + [value]})
    assert status == (200 if value == 70000 else 400), answer


def test_refused_calls_are_counted(node: NodeProcess) -> None:
    node.post("/models/mlp/predict", {"wrong": 1})
    text = node.call("GET", "/metrics")[2].decode()
    assert 'modelyard_calls_total{code="invalid_input",endpoint="mlp",version="1"}' in text
