"""V2 beside infer: extensions, configuration, statistics, the repository, parameters, generate."""

import json

import numpy as np
import pytest

from support.node import NodeProcess

MLP = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 64], "data": [0.5] * 64}]}


def test_the_server_tells_its_extensions(many: NodeProcess) -> None:
    extensions = many.get("/v2")[1]["extensions"]
    assert {"binary_tensor_data", "statistics", "generate", "schedule_policy"} <= set(extensions)
    assert "classification" not in extensions and "sequence" not in extensions


def test_the_configuration_is_what_triton_calls_one(many: NodeProcess) -> None:
    for path in ("/v2/models/mlp/config", "/v2/models/mlp/versions/1/config"):
        config = many.get(path)[1]
        assert (config["name"], config["max_batch_size"]) == ("mlp", 1024)
        assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [64], "optional": False}]
        assert config["output"] == [{"name": "y", "data_type": "TYPE_FP32", "dims": [10]}]
        assert config["instance_group"][0]["count"] == 1
    config = many.get("/v2/models/echo/config")[1]
    assert (config["max_batch_size"], "dynamic_batching" in config) == (0, False)
    assert config["input"][0]["data_type"] == "TYPE_STRING"


def test_statistics_count_what_was_answered(many: NodeProcess) -> None:
    (before,) = many.get("/v2/models/echo/stats")[1]["model_stats"]
    for text in ("a", "b", "boom"):
        many.post("/models/echo/predict", {"text": text})
    (after,) = many.get("/v2/models/echo/versions/1/stats")[1]["model_stats"]

    def grown(name: str, what: str = "count") -> int:
        return after["inference_stats"][name][what] - before["inference_stats"][name][what]

    assert (grown("success"), grown("fail"), grown("queue")) == (2, 1, 3)
    assert min(grown("success", "ns"), grown("fail", "ns"), grown("compute_infer", "ns")) > 0
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] - before["execution_count"] == 2  # what failed is none
    assert after["last_inference"] > 1_000_000_000_000
    names = [each["name"] for each in many.get("/v2/models/stats")[1]["model_stats"]]
    assert {"mlp", "echo"} <= set(names)
    assert many.get("/v2/models/nobody/stats")[0] == 404


def test_statistics_count_rows_and_the_batches_that_they_were_computed_in(many: NodeProcess) -> None:
    def stats() -> dict:
        return many.get("/v2/models/mlp/stats")[1]["model_stats"][0]

    def sizes(of: dict) -> dict[int, int]:
        return {each["batch_size"]: each["compute_infer"]["count"] for each in of["batch_stats"]}

    before = stats()
    for rows in (3, 3, 5):
        tensor = {"name": "x", "shape": [rows, 64], "datatype": "FP32", "data": [0.5] * 64 * rows}
        assert many.post("/v2/models/mlp/infer", {"inputs": [tensor]})[0] == 200
    after = stats()
    assert after["inference_count"] - before["inference_count"] == 11
    assert after["execution_count"] - before["execution_count"] == 3
    assert sizes(after)[3] - sizes(before).get(3, 0) == 2
    assert sizes(after)[5] - sizes(before).get(5, 0) == 1
    assert sum(sizes(after).values()) == after["execution_count"]
    assert all(each["compute_infer"]["ns"] > 0 for each in after["batch_stats"])


def test_the_repository_tells_the_truth_and_loads_and_unloads(many: NodeProcess) -> None:
    status, models = many.post("/v2/repository/index", {})
    mlp = next(model for model in models if model["name"] == "mlp")
    assert (status, mlp) == (200, {"name": "mlp", "version": "1", "state": "READY", "reason": ""})
    assert len(many.post("/v2/repository/index", {"ready": True})[1]) == len(models)
    assert many.call("POST", "/v2/repository/index")[0] == 200
    assert many.post("/v2/repository/models/mlp/load", {})[0] == 200
    assert many.post("/v2/repository/models/mlp/load", {"parameters": {"config": "{}"}})[0] == 400
    assert many.post("/v2/repository/models/nobody/load", {})[0] == 404
    assert many.post("/v2/repository/models/mlp/unload", {})[0] == 200
    assert not many.pids("mlp")
    status, models = many.post("/v2/repository/index", {})
    mlp = next(model for model in models if model["name"] == "mlp")
    assert mlp == {
        "name": "mlp",
        "version": "1",
        "state": "READY",
        "reason": "asleep; a call or a load wakes it",
    }
    assert many.post("/v2/repository/models/mlp/load", {})[0] == 200
    assert many.pids("mlp")
    assert many.post("/v2/repository/models/nobody/unload", {})[0] == 404
    assert many.post("/v2/repository/index", {"colour": 1})[0] == 400


def test_a_body_may_repeat_the_model_of_the_path_and_no_other(many: NodeProcess) -> None:
    assert many.post("/v2/models/mlp/infer", MLP | {"model_name": "mlp", "model_version": "1"})[0] == 200
    assert many.post("/v2/models/mlp/infer", MLP | {"model_name": "echo"})[1]["field"] == "model_name"
    assert many.post("/v2/models/mlp/infer", MLP | {"model_version": "2"})[1]["field"] == "model_version"


@pytest.mark.parametrize(
    ("parameters", "status", "field"),
    [
        ({"priority": 1, "timeout": 5_000_000}, 200, None),
        ({"timeout": 0, "sequence_id": 0, "sequence_start": False}, 200, None),
        ({"timeout": 1}, 504, None),
        ({"timeout": -1}, 400, "parameters.timeout"),
        ({"timeout": 1.5}, 400, "parameters.timeout"),
        ({"timeout": True}, 400, "parameters.timeout"),
        ({"priority": 1001}, 400, "parameters.priority"),
        ({"priority": "high"}, 400, "parameters.priority"),
        ({"sequence_id": 7}, 400, "parameters.sequence_id"),
        ({"sequence_start": True}, 400, "parameters.sequence_start"),
        ({"colour": 1}, 400, "parameters.colour"),
    ],
)
def test_the_protocols_own_parameters(
    many: NodeProcess, parameters: dict, status: int, field: str | None
) -> None:
    answered, answer = many.post("/v2/models/mlp/infer", MLP | {"parameters": parameters})
    assert (answered, answer.get("field")) == (status, field), answer


def test_bf16_and_fp16_as_json_numbers(many: NodeProcess) -> None:
    inputs = [
        {"name": "half", "datatype": "FP16", "shape": [2], "data": [1.5, 65504.0]},
        {"name": "brain", "datatype": "BF16", "shape": [2], "data": [1.0, -2.5]},
        {"name": "flag", "datatype": "BOOL", "shape": [], "data": [False]},
        {"name": "blob", "datatype": "BYTES", "shape": [], "data": ["größe"]},
    ]
    status, answer = many.post("/v2/models/halves/infer", {"inputs": inputs})
    assert status == 200, answer
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs == {
        "half": [3.0, None],  # 131008 is an infinity in FP16, which JSON has no word for
        "wide": [1.0, -2.5],
        "flag": [True],
        "blob": ["eßörg"],
    }


def events(node: NodeProcess, path: str, body: dict) -> tuple[int, str, list[dict]]:
    status, headers, text = node.call("POST", path, json.dumps(body).encode())
    lines = [line for line in text.decode().split("\n\n") if line]
    if status != 200:
        return status, headers["content-type"], [json.loads(text)]
    assert all(line.startswith("data: ") for line in lines)
    return status, headers["content-type"], [json.loads(line[6:]) for line in lines]


def test_generate_takes_inputs_and_parameters_by_name(many: NodeProcess) -> None:
    told = {"model_name": "echo", "model_version": "1"}
    assert many.post("/v2/models/echo/generate", {"text": "ab", "times": 2}) == (
        200,
        told | {"output": "abab"},
    )
    body = {"text_input": "ab", "parameters": {"times": 2}}
    assert many.post("/v2/models/echo/versions/1/generate", body) == (200, told | {"text_output": "abab"})
    status, answer = many.post("/v2/models/vector/generate", {"features": [1.0, 2.0, 3.0]})
    assert (status, answer["total"]) == (200, 6.0)
    twice = {"text": "a", "times": 1, "parameters": {"times": 2}}
    assert many.post("/v2/models/echo/generate", twice)[1]["field"] == "parameters.times"
    assert many.post("/v2/models/echo/generate", {"text": "a", "text_input": "b"})[0] == 400
    assert many.post("/v2/models/echo/generate", {"text": "a", "parameters": [1]})[0] == 400


def test_a_model_that_does_not_stream_gives_one_event(many: NodeProcess) -> None:
    status, kind, sent = events(many, "/v2/models/echo/generate_stream", {"text": "ab"})
    assert (status, kind) == (200, "text/event-stream; charset=utf-8")
    assert sent == [{"model_name": "echo", "model_version": "1", "output": "ab"}]


def test_an_error_before_the_first_event_has_its_status(many: NodeProcess) -> None:
    status, kind, sent = events(many, "/v2/models/echo/generate_stream", {"text": "boom"})
    assert (status, kind, sent[0]["code"]) == (500, "application/json", "internal")
    assert events(many, "/v2/models/echo/versions/9/generate_stream", {"text": "a"})[0] == 404


def test_streams_are_counted_as_calls(many: NodeProcess) -> None:
    def counts() -> tuple[int, int]:
        (stats,) = many.get("/v2/models/echo/stats")[1]["model_stats"]
        return stats["inference_stats"]["success"]["count"], stats["inference_stats"]["fail"]["count"]

    success, fail = counts()
    events(many, "/v2/models/echo/generate_stream", {"text": "ab"})
    events(many, "/v2/models/echo/generate_stream", {"text": "boom"})
    assert counts() == (success + 1, fail + 1)


def test_head_is_answered_where_get_is(many: NodeProcess) -> None:
    for path in ("/v2", "/v2/models/mlp", "/v2/models/mlp/ready", "/v1/models", "/ping", "/models"):
        assert many.call("HEAD", path)[::2] == (200, b""), path
    assert np.isfinite(many.get("/v2/models/stats")[1]["model_stats"][0]["inference_stats"]["queue"]["ns"])
