"""What a key sees of a node: the endpoints of its grant, as if there were no others; by every protocol."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelyard.core.routes import Grant, Pool
from modelyard.core.signature import TensorSpec
from support.models import function_pool
from support.node import NodeProcess, wait_until

TEXT = (TensorSpec(name="text", datatype="BYTES", kind="text"),)
LISTS = (
    ("GET", "/models"),
    ("GET", "/v1/models"),
    ("GET", "/v2/models/stats"),
    ("POST", "/v2/repository/index"),
)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def grants(**changes: object) -> tuple[Grant, ...]:
    return (
        Grant(digest=digest("ours"), endpoints=("mine", "second"), manages=True),
        Grant(digest=digest("narrow"), endpoints=("mine",)),
        Grant(digest=digest("theirs"), endpoints=("other",)),
        Grant(digest=digest("late"), endpoints=("mine",), expires=time.time() - 1),
        Grant(digest=digest("none")),
    )


@dataclass
class Asked:
    node: NodeProcess
    pools: tuple[Pool, ...]

    def post(self, key: str, path: str, body: object = None, **headers: str) -> tuple[int, dict]:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.node.post(path, body or {}, told | {"authorization": f"Bearer {key}"})

    def get(self, key: str, path: str) -> tuple[int, dict]:
        return self.node.get(path, {"authorization": f"Bearer {key}"})


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two fronts"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    root = tmp_path_factory.mktemp("seen")
    pools = tuple(
        function_pool(
            root / name, f"def predict(text: str):\n    return '{name} ' + text\n", name=name, inputs=TEXT
        )
        for name in ("other", "mine", "second")
    )
    node = NodeProcess(root / "home", MODELYARD_NODE_PROCESSES=str(request.param))
    node.serve(*pools, keys=(digest("all"),), grants=grants())
    with node:
        wait_until(lambda: len([one for one in node.status().pools if one.state == "ready"]) == 3)
        yield Asked(node, pools)


def test_a_key_predicts_where_it_may_and_nothing_else_is_there(asked: Asked) -> None:
    body = {"text": "a"}
    assert asked.post("ours", "/models/mine/predict", body) == (200, {"output": "mine a"})
    assert asked.post("all", "/models/other/predict", body) == (200, {"output": "other a"})
    for path in ("/models/{}/predict", "/models/{}/predict/batch", "/v2/models/{}/infer", "/v1/models/{}:predict", "/v2/models/{}/generate"):  # fmt: skip
        hidden = asked.post("ours", path.format("other"), body)
        missing = asked.post("ours", path.format("nobody"), body)
        assert hidden[0] == missing[0] == 404
        assert hidden[1]["error"] == missing[1]["error"].replace("nobody", "other")
    for path in ("/v2/models/{}", "/v2/models/{}/ready", "/v2/models/{}/config", "/v2/models/{}/stats", "/v1/models/{}"):  # fmt: skip
        hidden, missing = asked.get("ours", path.format("other")), asked.get("ours", path.format("nobody"))
        assert hidden[0] == missing[0] == 404
        assert hidden[1]["error"] == missing[1]["error"].replace("nobody", "other")


def test_openais_model_of_another_project_is_none(asked: Asked) -> None:
    def ask(name: str) -> tuple[int, str]:
        status, told = asked.post("ours", "/v1/embeddings", {"model": name, "input": "a"})
        return status, str(told).replace(name, "…").replace(told.get("request_id", "-"), "")

    assert ask("other")[0] == ask("nobody")[0] == 404


@pytest.mark.parametrize(("method", "path"), LISTS)
def test_lists_show_what_the_key_may_call(asked: Asked, method: str, path: str) -> None:
    for key, seen in (
        ("ours", {"mine", "second"}),
        ("narrow", {"mine"}),
        ("theirs", {"other"}),
        ("none", set()),
    ):
        _, _, body = asked.node.call(method, path, b"", {"authorization": f"Bearer {key}"})
        assert {name for name in ("mine", "second", "other") if name.encode() in body} == seen


def test_the_call_without_a_name_goes_to_ones_own_or_to_nobody(asked: Asked) -> None:
    assert asked.post("all", "/predict", {"text": "a"}) == (200, {"output": "other a"})
    assert asked.post("theirs", "/predict", {"text": "a"}) == (200, {"output": "other a"})
    assert asked.post("narrow", "/predict", {"text": "a"}) == (200, {"output": "mine a"})
    assert asked.post("ours", "/predict", {"text": "a"})[0] == 404


def test_an_expired_and_an_unknown_key_are_refused(asked: Asked) -> None:
    for key in ("late", "wrong", "none "):
        status, told = asked.post(key, "/models/mine/predict", {"text": "a"})
        assert (status, told["code"]) == (401, "unauthenticated") or key == "none "
    assert "expired" in asked.post("late", "/models/mine/predict", {"text": "a"})[1]["error"]


def test_only_who_manages_loads_and_unloads(asked: Asked) -> None:
    path = "/v2/repository/models/{}/load"
    assert asked.post("ours", path.format("mine"))[0] == 200
    assert asked.post("narrow", path.format("mine"))[0] == 403
    assert asked.post("ours", path.format("other"))[0] == 404


def test_metrics_are_those_of_the_endpoints_that_a_key_sees(asked: Asked) -> None:
    def metrics(key: str | None) -> tuple[int, str]:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        status, _, body = asked.node.call("GET", "/metrics", b"", headers)
        return status, body.decode()

    for key, name in (("ours", "mine"), ("theirs", "other")):
        assert asked.post(key, f"/models/{name}/predict", {"text": "a"})[0] == 200
    for key, seen in (("ours", {"mine", "second"}), ("theirs", {"other"}), ("none", set()), ("all", {"mine", "second", "other"})):  # fmt: skip
        status, text = metrics(key)
        assert status == 200
        named = {name for name in ("mine", "second", "other") if f'endpoint="{name}"' in text}
        assert named == seen
        assert ("process_resident_memory_bytes" in text) is (key == "all")
        assert all(name in seen for name in ("mine", "second", "other") if f'"{name}"' in text)
    assert "modelyard_calls_total{" in metrics("ours")[1]
    for wrong in (None, "wrong", "late"):
        assert metrics(wrong)[0] == 401


def test_the_node_tells_when_which_key_was_used(asked: Asked) -> None:
    before = time.time()
    assert asked.post("narrow", "/models/mine/predict", {"text": "a"})[0] == 200
    assert asked.post("all", "/models/mine/predict", {"text": "a"})[0] == 200
    assert asked.post("late", "/models/mine/predict", {"text": "a"})[0] == 401
    wait_until(lambda: asked.node.status().used.get(digest("narrow")[:16], 0) >= before, what="its use")
    used = asked.node.status().used
    assert digest("late")[:16] not in used and digest("all")[:16] not in used


def test_jobs_are_whose_key_made_them(asked: Asked) -> None:
    status, job = asked.post("ours", "/models/mine/predict", {"text": "a"}, prefer="respond-async")
    assert status == 202
    assert asked.get("ours", f"/jobs/{job['id']}?wait=60")[1]["state"] == "done"
    assert asked.get("ours", f"/jobs/{job['id']}/result") == (200, {"output": "mine a"})
    for key in ("narrow", "theirs", "all"):
        assert asked.get(key, f"/jobs/{job['id']}")[0] == 404
        assert asked.get(key, "/jobs")[1]["jobs"] == []
    assert asked.post("ours", "/models/other/predict", {"text": "a"}, prefer="respond-async")[0] == 404


def test_grpc_shows_the_same(asked: Asked) -> None:
    def metadata(key: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {key}"),)

    with grpc.insecure_channel(f"127.0.0.1:{asked.node.grpc_port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        index = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), metadata=metadata("ours"))
        assert {model.name for model in index.models} == {"mine", "second"}
        said = []
        for name in ("other", "nobody"):
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=name), metadata=metadata("ours"))
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
            said.append(caught.value.details().replace(name, "…"))
        assert said[0] == said[1]
        with pytest.raises(grpc.RpcError) as caught:
            stub.RepositoryModelUnload(
                service_pb2.RepositoryModelUnloadRequest(model_name="mine"), metadata=metadata("narrow")
            )
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_a_grant_that_is_taken_away_is_gone_with_the_next_table(asked: Asked) -> None:
    asked.node.serve(*asked.pools, keys=(digest("all"),), grants=grants()[1:])
    wait_until(lambda: asked.post("ours", "/models/mine/predict", {"text": "a"})[0] == 401, what="its end")
    assert asked.post("narrow", "/models/mine/predict", {"text": "a"})[0] == 200


def test_an_expiry_holds_by_the_nodes_own_clock_also_after_a_start_from_disk(tmp_path) -> None:
    pool = function_pool(
        tmp_path / "f", "def predict(text: str):\n    return text\n", name="mine", inputs=TEXT
    )
    soon = time.time() + 4
    soon_over = Grant(digest=digest("soon"), endpoints=("mine",), expires=soon)
    with NodeProcess(tmp_path / "home").serve(pool, keys=(), grants=(soon_over,)) as node:
        node.kill()
        node.start()  # nobody tells it anything: the table is the one on its disk
        headers = {"authorization": "Bearer soon"}
        wait_until(lambda: time.time() > soon, what="the key's end")
        status, told = node.post("/models/mine/predict", {"text": "a"}, headers)
        assert (status, told["error"]) == (401, "This API key has expired.")
