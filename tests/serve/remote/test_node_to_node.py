"""A node whose backends are another node's endpoints: the same answers, errors and limits as there."""

import socket
import threading
from pathlib import Path

import pytest
from gateway import Gateway, to

from modelyard.core.routes import Remote, Route
from support.models import function_pool, mlp_pool
from support.node import NodeProcess, wait_until

X = {"x": [0.1] * 64}


def test_answers_are_those_of_the_remote(model_node: NodeProcess, gateway: Gateway) -> None:
    there = model_node.post("/models/mlp/predict", X)
    assert there[0] == 200
    assert gateway.post("/models/net/predict", X) == there
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 64], "data": [0.5] * 128}]}
    before = gateway.get("/v2/models/net/stats")[1]["model_stats"][0]["inference_count"]
    ours, theirs = (
        node.post(f"/v2/models/{name}/infer", body)
        for node, name in ((gateway, "net"), (model_node, "mlp"))
    )
    assert ours[0] == theirs[0] == 200
    assert ours[1]["outputs"] == theirs[1]["outputs"]
    assert ours[1]["model_version"] == "1"
    assert gateway.get("/v2/models/net/stats")[1]["model_stats"][0]["inference_count"] == before + 2


def test_the_signature_with_kinds_and_options_is_learned(model_node: NodeProcess, gateway: Gateway) -> None:
    theirs = {each["name"]: each for each in model_node.get("/models")[1]["models"]}
    ours = {each["name"]: each for each in gateway.get("/models")[1]["models"]}
    assert ours["net"]["signature"] == theirs["mlp"]["signature"]
    assert ours["parrot"]["signature"] == theirs["echo"]["signature"]
    assert ours["parrot"]["version"] == "1"
    assert gateway.post("/models/parrot/predict", {"text": "ab", "times": 2}) == (
        200,
        {"output": {"said": "abab"}},
    )


def test_errors_come_back_as_they_were_told(model_node: NodeProcess, gateway: Gateway) -> None:
    status, here = gateway.post("/models/parrot/predict", {"text": "boom"})
    _, there = model_node.post("/models/echo/predict", {"text": "boom"})
    assert status == 500
    assert (here["error"], here["code"]) == (there["error"], "internal")
    status, here = gateway.post("/models/net/predict", {"x": [1.0]})
    assert (status, here["field"]) == (400, "x")


def test_a_call_has_the_same_id_in_the_logs_of_both(model_node: NodeProcess, gateway: Gateway) -> None:
    told = gateway.post("/models/parrot/predict", {"text": "boom"}, {"x-request-id": "followed"})
    assert told[1]["request_id"] == "followed"
    wait_until(lambda: all('"followed"' in node.log() for node in (gateway, model_node)))
    own = gateway.post("/models/parrot/predict", {"text": "boom"})[1]["request_id"]
    wait_until(lambda: all(f'"{own}"' in node.log() for node in (gateway, model_node)))


def test_a_batch_is_answered_record_by_record(gateway: Gateway) -> None:
    records = [{"text": "a"}, {"text": "boom"}, {"text": "b"}]
    status, answer = gateway.post("/models/parrot/predict/batch", {"records": records})
    assert status == 200
    first, second, third = answer["predictions"]
    assert first == {"output": {"said": "a"}}
    assert second["code"] == "internal"
    assert third == {"output": {"said": "b"}}


def test_the_callers_time_ends_there_too(gateway: Gateway) -> None:
    status, answer = gateway.post(
        "/models/parrot/predict", {"text": "a", "seconds": 2.0}, {"modelyard-timeout": "0.3"}
    )
    assert (status, answer["code"]) == (504, "deadline")


def test_pieces_come_through_as_they_are_made_and_a_caller_that_leaves_stops_them(tmp_path: Path) -> None:
    go, told = tmp_path / "go", tmp_path / "told"
    code = (
        "import os, time\ndef predict(x: float):\n    yield 1.0\n"
        f"    while x and not os.path.exists({str(go)!r}):\n        time.sleep(0.01)\n"
        "    for n in range(int(x)):\n"
        f"        open({str(told)!r}, 'a').write('.')\n        yield float(n)\n        time.sleep(0.02)\n"
    )
    far = NodeProcess(tmp_path / "far").serve(function_pool(tmp_path / "m", code, name="far", timeout=60))
    near = Gateway(tmp_path / "near")
    with far, near.route(to(far, endpoint="near", model="far")):
        wait_until(lambda: near.get("/v2/models/near/ready")[0] == 200, what="the remote")
        request = b'{"x": 3000}'
        with socket.create_connection(("127.0.0.1", near.port), timeout=60) as client:
            client.sendall(
                b"POST /v2/models/near/generate_stream HTTP/1.1\r\nhost: localhost\r\n"
                b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(request), request)
            )
            received = b""
            while b"data:" not in received:  # the second piece is not made yet
                received += client.recv(65536)
            assert b'"output":1.0' in received
            go.touch()
            wait_until(lambda: told.exists() and len(told.read_text()) > 2, what="more pieces")
        # The only executor there is free again long before the 3000 pieces would be through.
        assert far.post("/predict", {"x": 2.0})[0] == 200
        assert len(told.read_text()) < 1500
        status, _, body = near.call(
            "POST", "/v2/models/near/generate_stream", b'{"x": 2}', {"content-type": "application/json"}
        )
        assert (status, body.count(b"data:")) == (200, 3)


def test_a_circle_of_routes_ends(tmp_path, model_node: NodeProcess) -> None:
    first, second = Gateway(tmp_path / "a"), Gateway(tmp_path / "b")
    with first, second:
        signature = mlp_pool(tmp_path / "mlp").signature
        first.route(to(second, signature=signature))
        second.route(to(first, signature=signature))
        # Each is ready as soon as the other is: in a circle nobody begins. A third one breaks it once.
        first.route(to(second, model_node, signature=signature))
        wait_until(lambda: first.get("/ready")[0] == 200 and second.get("/ready")[0] == 200)
        second.route(to(first, signature=signature))
        status, answer = second.post("/models/mlp/predict", X, {"modelyard-hops": "8"})
        assert (status, answer["code"]) == (500, "internal")
        assert "circle" in answer["error"]


def test_a_remote_that_is_down_is_told_and_served_when_it_comes(tmp_path) -> None:
    remote = NodeProcess(tmp_path / "remote").serve(mlp_pool(tmp_path / "mlp"))
    with Gateway(tmp_path / "gateway") as gateway, remote:
        remote.stop()
        gateway.route(to(remote))
        assert gateway.get("/v2/models/mlp/ready")[0] == 503
        status, headers, body = gateway.call("POST", "/models/mlp/predict", b'{"x": [0]}')
        assert status == 503, body
        assert headers["retry-after"]
        remote.start()
        wait_until(lambda: gateway.get("/ready")[0] == 200)
        assert gateway.post("/models/mlp/predict", X)[0] == 200


def test_calls_in_flight_survive_a_change_of_the_table(model_node: NodeProcess, tmp_path) -> None:
    with Gateway(tmp_path / "gateway") as gateway:
        gateway.route(to(model_node, endpoint="parrot", model="echo"))
        wait_until(lambda: gateway.get("/ready")[0] == 200)
        answers: list[tuple[int, dict]] = []
        go = tmp_path / "go"
        calls = [
            threading.Thread(
                target=lambda: answers.append(gateway.post("/models/parrot/predict", {"text": str(go)}))
            )
            for _ in range(4)
        ]
        for call in calls:
            call.start()
        wait_until(lambda: _metric(gateway, "outstanding") == 4, what="four calls on their way")
        gateway.route(to(model_node, endpoint="net", model="mlp"))
        assert gateway.post("/models/parrot/predict", {"text": "a"})[0] == 404
        go.touch()
        for call in calls:
            call.join()
        assert answers == [(200, {"output": {"said": str(go)}})] * 4


def _metric(gateway: Gateway, name: str) -> float:
    text = gateway.call("GET", "/metrics")[2].decode()
    lines = [line for line in text.splitlines() if line.startswith(f"modelyard_remote_{name}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_one_of_two_remotes_dies_and_no_call_fails(tmp_path) -> None:
    pool = mlp_pool(tmp_path / "mlp")
    first = NodeProcess(tmp_path / "first").serve(pool)
    second = NodeProcess(tmp_path / "second").serve(pool)
    with first, second, Gateway(tmp_path / "gateway") as gateway:
        gateway.route(to(first, second))
        wait_until(lambda: _metric(gateway, "available") == 2, what="both")
        for number in range(200):
            if number == 50:
                second.kill()
            assert gateway.post("/models/mlp/predict", X)[0] == 200
        wait_until(lambda: _metric(gateway, "available") == 1, what="one of two")


def test_a_route_has_a_pool_and_a_remote(tmp_path, model_node: NodeProcess) -> None:
    pool = function_pool(
        tmp_path / "echo",
        "import os\ndef predict(text: str):\n    return os.getppid()\n",
        name="echo",
        inputs=(model_node_input(),),
    )
    with Gateway(tmp_path / "gateway") as gateway:
        remote = Remote(url=f"http://127.0.0.1:{model_node.port}", model="echo")
        gateway.route(
            Route(endpoint="echo", deployment=pool.deployment, remotes=(remote,), weight=1.0), pools=(pool,)
        )
        wait_until(lambda: gateway.get("/ready")[0] == 200)
        assert gateway.process is not None and model_node.process is not None
        seen = set()

        def both() -> bool:
            seen.add(gateway.post("/models/echo/predict", {"text": "pid"})[1]["output"])
            return len(seen) == 2

        wait_until(both, what="answers of both")
        assert seen == {gateway.process.pid, model_node.process.pid}


def model_node_input():
    from modelyard.core.signature import TensorSpec

    return TensorSpec(name="text", datatype="BYTES", kind="text")


@pytest.mark.parametrize(
    ("route", "field"),
    [
        ({"endpoint": "a"}, "routes[0]"),
        ({"endpoint": "a", "remotes": [{"url": "ftp://x", "model": "m"}]}, "routes[0].remotes[0].url"),
        ({"endpoint": "a", "remotes": [{"url": "http://u:p@x", "model": "m"}]}, "routes[0].remotes[0].url"),
        ({"endpoint": "a", "remotes": [{"url": "http://x:port", "model": "m"}]}, "routes[0].remotes[0].url"),
        ({"endpoint": "a", "remotes": [{"url": "unix:relative", "model": "m"}]}, "routes[0].remotes[0].url"),
        ({"endpoint": "a", "remotes": [{"url": "http://x", "model": ""}]}, "routes[0].remotes[0].model"),
        ({"endpoint": "a", "remotes": [{"url": "http://x", "model": "m", "weight": -1}]}, "routes[0].weight"),
        ({"endpoint": "a", "remotes": [{"url": "http://x", "model": "m", "weight": 0}]}, "routes[0].weight"),
        ({"endpoint": "a", "remotes": [{"url": "http://x", "model": "m", "kind": "grpc"}]}, None),
        ({"endpoint": "a", "remotes": [{"url": "http://x", "model": "m", "color": 1}]}, None),
        (
            {"endpoint": "a", "remotes": [{"url": "http://x", "model": "m", "key_variable": "NOT A NAME"}]},
            "routes[0].remotes[0].key_variable",
        ),
        (
            {"endpoint": "a", "remotes": [{"url": "http://x", "model": "m"}], "retry": {"attempts": 0}},
            "routes[0].retry",
        ),
    ],
)  # fmt: skip
def test_a_route_that_could_never_serve_is_refused(
    gateway: Gateway, route: dict, field: str | None
) -> None:
    import json

    status, body = gateway.push({"generation": 99, "routes": [route]})
    assert status == 400, body
    if field is not None:
        assert json.loads(body)["field"] == field
