"""The registry over HTTP: found, named, described, compared, ended."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from starlette.testclient import TestClient

V = "/api/v1"
README = b"---\nlicense: mit\npipeline_tag: tabular-classification\ntags: [money]\n---\n# Fraud\n\nFinds *fraud*.\n"


def model(scale: float, *, outputs: int = 2, more: bool = False) -> bytes:
    weights = np.full((3, outputs), scale, "float32")
    tensors = [
        numpy_helper.from_array(weights, "w"),
        numpy_helper.from_array(np.ones(outputs, "float32"), "b"),
    ]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    if more:
        tensors.append(numpy_helper.from_array(np.ones(outputs, "float32"), "extra"))
        nodes[1] = helper.make_node("Add", ["h", "b"], ["g"])
        nodes.append(helper.make_node("Mul", ["g", "extra"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outputs])],
        tensors,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made.SerializeToString()


@pytest.fixture
def fraud(client: TestClient, upload) -> TestClient:
    """A model with three versions."""
    for number, files in enumerate(
        (
            {"model.onnx": model(1.0), "README.md": README},
            {"model.onnx": model(2.0)},
            {"model.onnx": model(1.0, outputs=4, more=True), "notes.txt": b"x"},
        )
    ):
        made = client.post(f"{V}/models/fraud/versions", json={"upload": upload(client, files)})
        assert (made.status_code, made.json()["number"]) == (201, number + 1), made.text
    return client


def test_a_version_is_named_by_number_alias_or_as_the_latest(fraud: TestClient) -> None:
    moved = fraud.put(f"{V}/models/fraud/aliases/production", json={"version": 2, "because": "better"})
    assert moved.json()["version"] == 2
    for named, number in (("1", 1), ("production", 2), ("latest", 3)):
        assert fraud.get(f"{V}/models/fraud/versions/{named}").json()["number"] == number
    assert fraud.get(f"{V}/models/fraud/versions/staging").status_code == 404
    assert fraud.get(f"{V}/models/fraud/versions/0").json()["code"] == "invalid_input"
    assert fraud.get(f"{V}/models/fraud").json()["aliases"] == {"production": 2}


def test_who_moves_an_alias_is_remembered_and_the_second_of_two_is_told(fraud: TestClient) -> None:
    path = f"{V}/models/fraud/aliases/production"
    ada = {"modelyard-user": "ada"}
    first = fraud.put(path, json={"version": 1, "because": "first", "expected": 0}, headers=ada)
    assert (first.status_code, first.json()["move"]["who"]) == (200, "ada")
    second = fraud.put(path, json={"version": 2, "expected": 0})
    assert second.status_code == 409
    assert "at version 1 now (moved by ada: first)" in second.json()["error"]
    assert fraud.delete(f"{path}?expected=2").status_code == 409
    assert fraud.delete(f"{path}?because=done").json()["version"] is None
    history = fraud.get(f"{V}/models/fraud/history").json()
    assert [(each["version"], each["who"], each["why"]) for each in history] == [
        (1, "ada", "first"),
        (None, "someone on this machine", "done"),
    ]
    assert fraud.get(f"{V}/models/fraud/history?until=10").json() == []


def test_the_card_comes_from_the_readme_and_people_have_the_last_word(fraud: TestClient) -> None:
    answer = fraud.get(f"{V}/models/fraud/versions/1/card").json()
    assert (answer["readme"], answer["card"]["text"]) == (True, "# Fraud\n\nFinds *fraud*.\n")
    assert (answer["card"]["licence"], answer["card"]["commercial"]) == ("MIT", True)
    assert answer["card"]["tags"] == ["money"]
    changed = fraud.patch(f"{V}/models/fraud/card", json={"text": "# Ours", "task": None, "because": "x"})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["card"]["text"], changed.json()["card"]["task"]) == ("# Ours", None)
    assert changed.json()["card"]["licence"] == "MIT"
    wrong = fraud.patch(f"{V}/models/fraud/card", json={"licence": "what ever"})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "licence")


def test_it_is_found_by_what_it_is(fraud: TestClient) -> None:
    def found(query: str) -> list[int]:
        answer = fraud.get(f"{V}/versions?{query}")
        assert answer.status_code == 200, answer.text
        return [each["number"] for each in answer.json()["versions"]]

    assert found("") == [3]
    assert found("all_versions=true&sort=oldest") == [1, 2, 3]
    assert found("text=finds&all_versions=true") == [1]
    assert found("tag=money&licence=mit&commercial=true&format=onnx&task=tabular-classification") == [3]
    assert found("max_parameters=8&all_versions=true") == [2, 1]
    assert found("status=deployed") == []
    page = fraud.get(f"{V}/versions?all_versions=true&limit=2").json()
    following = fraud.get(
        f"{V}/versions", params={"all_versions": True, "limit": 2, "cursor": page["next"]}
    )
    assert [each["number"] for each in following.json()["versions"]] == [1]
    assert following.json()["next"] is None


def test_a_value_that_no_version_has_is_told_with_those_like_it(fraud: TestClient) -> None:
    answer = fraud.get(f"{V}/versions?format=onnxx&licence=mit&text=fraud").json()
    hint = {"field": "format", "value": "onnxx", "there": ["onnx"]}
    assert answer == {"versions": [], "next": None, "hints": [hint], "obstacles": []}
    nowhere = fraud.get(f"{V}/versions?format=onnx&text=nowhere").json()
    assert (nowhere["hints"], nowhere["obstacles"]) == ([], [{"field": "text", "value": "nowhere"}])
    wrong = fraud.get(f"{V}/versions?status=usabel")
    assert wrong.status_code == 400 and "'usable'" in wrong.json()["error"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("colour=red", "colour"),
        ("limit=0", "limit"),
        ("sort=best", "sort"),
        ("cursor=x", "cursor"),
        ("tag=A", "tag[0]"),
    ],
)
def test_a_search_that_cannot_be_is_refused(client: TestClient, query: str, field: str) -> None:
    answer = client.get(f"{V}/versions?{query}")
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_lineage_is_a_tree(fraud: TestClient) -> None:
    body = {"model": "fraud", "version": 1, "relation": "fine_tune", "tradeoff": {"auc": [0.9, 0.93]}}
    made = fraud.put(f"{V}/models/fraud/versions/2/parent", json=body)
    assert made.json()["parent"]["number"] == 1
    assert fraud.put(f"{V}/models/fraud/versions/1/parent", json=body | {"version": 2}).status_code == 409
    tree = fraud.get(f"{V}/models/fraud/versions/2/lineage").json()
    assert [(each["number"], each["parent"]) for each in tree] == [(1, None), (2, 0)]
    refused = fraud.delete(f"{V}/models/fraud/versions/1")
    assert refused.status_code == 409 and "fraud/2" in refused.json()["error"]
    assert fraud.delete(f"{V}/models/fraud/versions/2/parent").json()["parent"] is None


def test_two_versions_are_compared(fraud: TestClient) -> None:
    def changes(query: str) -> dict:
        answer = fraud.get(f"{V}/models/fraud/versions/1/compare?{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    by_headers = changes("to=2")["tensors"]
    assert (by_headers["compared"], by_headers["unread"], by_headers["changes"]) == ("headers", 2, [])
    read = changes("to=2&contents=true")["tensors"]
    assert read["same"] == 1
    assert [(each["what"], each["kind"]) for each in read["changes"]] == [("w", "changed")]
    larger = changes("to=3")
    assert {(each["what"], each["kind"]) for each in larger["files"]} == {
        ("model.onnx", "changed"), ("README.md", "removed"), ("notes.txt", "added"),
    }  # fmt: skip
    assert {(each["what"], each["kind"]) for each in larger["tensors"]["changes"]} == {
        ("w", "changed"), ("b", "changed"), ("extra", "added"),
    }  # fmt: skip
    assert [(each["what"], each["before"], each["after"]) for each in larger["signature"]] == [
        ("output y", "FP32 [2] tensor", "FP32 [4] tensor")
    ]
    assert "parameters" in [each["what"] for each in larger["facts"]]
    assert changes("to=1")["identical"] is True


def test_a_deprecated_version_says_so_wherever_it_is_shown(fraud: TestClient) -> None:
    told = fraud.put(f"{V}/models/fraud/versions/3/deprecation", json={"because": "it drifts"}).json()
    assert told["deprecated"]["why"] == "it drifts"
    (listed,) = fraud.get(f"{V}/versions").json()["versions"]
    assert listed["deprecated"]["why"] == "it drifts"
    assert fraud.get(f"{V}/versions?status=usable").json()["versions"] == []
    assert fraud.delete(f"{V}/models/fraud/versions/3/deprecation").json()["deprecated"] is None


def test_a_version_is_deleted_with_a_grace_and_restored(fraud: TestClient) -> None:
    gone = fraud.delete(f"{V}/models/fraud/versions/3?because=wrong").json()["deleted"]
    assert gone["until"] - gone["time"] == pytest.approx(7 * 86400)
    assert fraud.get(f"{V}/models/fraud").json()["latest"] == 2
    assert len(fraud.get(f"{V}/models/fraud").json()["versions"]) == 3
    refused = fraud.post(f"{V}/deployments", json={"endpoint": "shop", "model": "fraud", "version": 3})
    assert refused.status_code == 409 and "models restore fraud/3" in refused.json()["error"]
    assert fraud.post(f"{V}/models/fraud/versions/3/restore", json={}).json()["deleted"] is None
    assert fraud.get(f"{V}/models/fraud").json()["latest"] == 3


def test_a_version_whose_alias_stands_is_kept(fraud: TestClient) -> None:
    fraud.put(f"{V}/models/fraud/aliases/production", json={"version": 3})
    refused = fraud.delete(f"{V}/models/fraud/versions/3")
    assert refused.status_code == 409 and "the alias production" in refused.json()["error"]


def test_a_deployment_by_alias_is_of_the_version_that_it_names_now(fraud: TestClient) -> None:
    fraud.put(f"{V}/models/fraud/aliases/production", json={"version": 2})
    job = fraud.post(
        f"{V}/deployments", json={"endpoint": "shop", "model": "fraud", "version": "production"}
    )
    assert job.status_code == 202, job.text
    assert job.json()["parameters"]["version"] == 2
    fraud.post(f"{V}/jobs/{job.json()['id']}/cancel")


def test_a_card_may_come_with_the_files(client: TestClient, upload) -> None:
    card = {"title": "Fraud", "licence": "apache-2.0", "category": "tabular", "tags": ["b", "a"]}
    body = {"upload": upload(client, {"model.onnx": model(1.0)}), "card": card}
    assert client.post(f"{V}/models/fraud/versions", json=body).status_code == 201
    told = client.get(f"{V}/models/fraud/card").json()["card"]
    assert (told["title"], told["licence"], told["commercial"], told["tags"]) == (
        "Fraud", "Apache-2.0", True, ["a", "b"],
    )  # fmt: skip


def test_the_janitor_forgets_what_is_deleted_when_its_grace_is_over(fraud: TestClient) -> None:
    platform = fraud.app.state.platform
    platform.retirement.delete("fraud", 3, grace=0, who="ada")
    platform.retirement.delete("fraud", 1, grace=1000, who="ada")
    digest = platform.versions.get("fraud", 3).manifest.files[0].sha256
    platform.janitor.collect()  # a second time beside the one that a deletion wakes
    assert not platform.blobs.has(digest)
    assert [version.number for version in platform.versions.of("fraud")] == [1, 2]
