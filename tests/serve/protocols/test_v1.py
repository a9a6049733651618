"""V1: rows and columns, as TensorFlow Serving and KServe send them."""

import base64

import numpy as np
import pytest

from support.node import NodeProcess

X = np.random.default_rng(1).standard_normal((300, 64)).astype("f")


def b64(data: bytes) -> dict:
    return {"b64": base64.b64encode(data).decode()}


def test_rows_and_columns_predict_the_same(many: NodeProcess) -> None:
    status, rows = many.post("/v1/models/mlp:predict", {"instances": X[:3].tolist()})
    assert status == 200, rows
    wanted = [many.post("/models/mlp/predict", {"x": x.tolist()})[1]["y"] for x in X[:3]]
    assert np.abs(np.array(rows["predictions"]) - np.array(wanted)).max() <= 1e-5
    columns = many.post("/v1/models/mlp/versions/1:predict", {"inputs": X[:3].tolist()})[1]
    assert columns == {"outputs": rows["predictions"]}
    named = many.post("/v1/models/mlp:predict", {"inputs": {"x": X[:3].tolist()}})[1]
    assert named == columns


def test_rows_of_one_shape_are_computed_together_in_order(many: NodeProcess) -> None:
    (before,) = many.get("/v2/models/mlp/stats")[1]["model_stats"]
    status, rows = many.post("/v1/models/mlp:predict", {"instances": [{"x": x.tolist()} for x in X]})
    (after,) = many.get("/v2/models/mlp/stats")[1]["model_stats"]
    assert status == 200 and len(rows["predictions"]) == 300
    assert after["inference_count"] - before["inference_count"] == 300
    calls = after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"]
    assert calls == 2  # 256 rows, then 44
    alone = many.post("/v1/models/mlp:predict", {"instances": [X[299].tolist()]})[1]["predictions"]
    assert np.abs(np.array(alone[0]) - np.array(rows["predictions"][299])).max() <= 1e-5


def test_several_outputs_are_an_object_per_row(many: NodeProcess) -> None:
    rows = [{"age": 2, "visits": 3, "city": "york"}, {"age": None, "visits": 1, "city": "bath"}]
    body = {"instances": rows, "signature_name": "serving_default", "parameters": {"factor": 10}}
    assert many.post("/v1/models/table:predict", body) == (
        200,
        {"predictions": [{"score": 60.0, "city": "YORK"}, {"score": 0.0, "city": "BATH"}]},
    )
    columns = {"age": [2.0], "visits": [3], "city": ["york"]}
    assert many.post("/v1/models/table:predict", {"inputs": columns})[1] == {
        "outputs": {"score": [6.0], "city": ["YORK"]}
    }


def test_texts_are_rows_of_their_own(many: NodeProcess) -> None:
    body = {"instances": ["a", "banana", {"text": "abc"}, b64(b"aa")]}
    status, answer = many.post("/v1/models/embed:predict", body)
    assert (status, [row[0] for row in answer["predictions"]]) == (200, [1.0, 6.0, 3.0, 2.0])
    status, answer = many.post("/v1/models/embed:predict", {"inputs": ["a", b64(b"aaa")]})
    assert (status, [row[0] for row in answer["outputs"]]) == (200, [1.0, 3.0])
    assert many.post("/v1/models/echo:predict", {"instances": ["a", {"text": "b", "times": 2}]})[1] == {
        "predictions": ["a", "bb"]
    }
    assert many.post("/v1/models/echo:predict", {"inputs": {"text": "ab", "times": 2}})[1] == {
        "outputs": "abab"
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("mlp", {}, 400, "instances"),
        ("mlp", {"instances": [[0.0] * 64], "inputs": [[0.0] * 64]}, 400, "instances"),
        ("mlp", {"instances": []}, 400, "instances"),
        ("mlp", {"instances": {"x": 1}}, 400, "instances"),
        ("mlp", {"instances": [[0.0] * 63]}, 400, "instances[0].x"),
        ("mlp", {"instances": [[0.0] * 64], "signature_name": "train"}, 400, "signature_name"),
        ("mlp", {"instances": [[0.0] * 64], "parameters": {"k": 1}}, 400, "instances[0].k"),
        ("mlp", {"instances": [[0.0] * 64], "colour": 1}, 400, "body"),
        ("mlp", {"inputs": [0.0] * 64}, 400, "inputs.x[0]"),
        ("mlp", {"inputs": {"z": [[0.0] * 64]}}, 400, "inputs.z"),
        ("mlp", {"inputs": []}, 400, "inputs.x"),
        ("table", {"instances": [[1, 2, "a"]]}, 400, "instances[0]"),
        ("table", {"inputs": [[1, 2, "a"]]}, 400, "inputs"),
        ("embed", {"instances": [{"b64": "ä"}]}, 400, "instances[0]"),
        ("embed", {"instances": [{"b64": 7}]}, 400, "instances[0]"),
        ("embed", {"instances": [b64(b"\xff\xfe")]}, 400, "inputs.text"),
        ("echo", {"instances": ["a", "boom"]}, 500, None),
        ("nobody", {"instances": [1]}, 404, "model"),
        ("mlp/versions/7", {"instances": [1]}, 404, "version"),
    ],
)
def test_what_is_wrong_is_named(
    many: NodeProcess, path: str, body: dict, status: int, field: str | None
) -> None:
    answered, answer = many.post(f"/v1/models/{path}:predict", body)
    assert (answered, answer.get("field")) == (status, field), answer


def test_one_list_of_models_is_v1s_and_openais(many: NodeProcess) -> None:
    status, listed = many.get("/v1/models")
    assert status == 200
    assert listed["object"] == "list"
    assert sorted(listed["models"]) == sorted(model["id"] for model in listed["data"])
    status, model = many.get("/v1/models/mlp")
    assert (status, model["name"], model["ready"], model["id"]) == (200, "mlp", True, "mlp")
    assert model["model_version_status"][0]["state"] == "AVAILABLE"
    assert many.get("/v1/models/mlp/versions/1")[0] == 200
    assert many.get("/v1/models/mlp/versions/2")[0] == 404
    assert many.get("/v1/models/nobody")[0] == 404
    assert many.post("/v1/models/mlp:explain", {"instances": [1]})[0] == 404
