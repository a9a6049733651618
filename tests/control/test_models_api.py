"""Uploads, models and versions over HTTP."""

import hashlib
import io

import joblib
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from starlette.testclient import TestClient


def onnx_bytes(scale: float = 2.0) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "k"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("k", TensorProto.FLOAT, [1], [scale])],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_upload_tells_what_is_missing_and_takes_it(client: TestClient, upload) -> None:
    data = onnx_bytes()
    file = {"path": "model.onnx", "size": len(data), "sha256": digest(data)}
    begun = client.post("/api/v1/uploads", json={"files": [file]}).json()
    assert begun["missing"] == [digest(data)]
    assert (
        client.put(f"/api/v1/uploads/{begun['id']}/blobs/{digest(data)}", content=data).status_code == 204
    )
    again = client.get(f"/api/v1/uploads/{begun['id']}").json()
    assert again["missing"] == [] and again["manifest"]["files"] == [file]


def test_a_file_that_is_there_already_need_not_be_sent_again(client: TestClient, upload) -> None:
    upload(client, {"model.onnx": onnx_bytes()})
    file = {"path": "other.onnx", "size": len(onnx_bytes()), "sha256": digest(onnx_bytes())}
    assert client.post("/api/v1/uploads", json={"files": [file]}).json()["missing"] == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"other", 400), (b"short", 400), (b"much longer than it was told", 400)],
)
def test_bytes_that_are_not_those_that_were_told_are_refused(
    client: TestClient, sent: bytes, status: int
) -> None:
    file = {"path": "a", "size": 5, "sha256": digest(b"right")}
    begun = client.post("/api/v1/uploads", json={"files": [file]}).json()
    answer = client.put(f"/api/v1/uploads/{begun['id']}/blobs/{digest(b'right')}", content=sent)
    assert (answer.status_code, answer.json()["code"]) == (status, "invalid_input")
    assert client.get(f"/api/v1/uploads/{begun['id']}").json()["missing"] == [digest(b"right")]


def test_a_stream_without_a_length_that_is_too_long_is_refused(client: TestClient) -> None:
    file = {"path": "a", "size": 5, "sha256": digest(b"right")}
    begun = client.post("/api/v1/uploads", json={"files": [file]}).json()
    chunks = (b"x" * 65536 for _ in range(100))
    answer = client.put(f"/api/v1/uploads/{begun['id']}/blobs/{digest(b'right')}", content=chunks)
    assert answer.status_code == 400


def test_a_blob_that_the_upload_does_not_list_is_refused(client: TestClient) -> None:
    file = {"path": "a", "size": 5, "sha256": digest(b"right")}
    begun = client.post("/api/v1/uploads", json={"files": [file]}).json()
    answer = client.put(f"/api/v1/uploads/{begun['id']}/blobs/{digest(b'other')}", content=b"other")
    assert answer.status_code in (400, 404)


def test_an_upload_can_be_given_up(client: TestClient) -> None:
    file = {"path": "a", "size": 5, "sha256": digest(b"right")}
    begun = client.post("/api/v1/uploads", json={"files": [file]}).json()
    assert client.delete(f"/api/v1/uploads/{begun['id']}").status_code == 204
    assert client.get(f"/api/v1/uploads/{begun['id']}").status_code == 404


def test_a_complete_upload_becomes_a_version_and_the_same_bytes_are_the_same_version(
    client: TestClient, upload
) -> None:
    first = client.post(
        "/api/v1/models/m/versions", json={"upload": upload(client, {"model.onnx": onnx_bytes()})}
    )
    assert (first.status_code, first.json()["number"]) == (201, 1)
    assert first.json()["analysis"]["signature"]["inputs"][0]["name"] == "x"
    again = client.post(
        "/api/v1/models/m/versions", json={"upload": upload(client, {"model.onnx": onnx_bytes()})}
    )
    assert (again.status_code, again.json()["number"]) == (200, 1)
    other = client.post(
        "/api/v1/models/m/versions", json={"upload": upload(client, {"model.onnx": onnx_bytes(3)})}
    )
    assert (other.status_code, other.json()["number"]) == (201, 2)
    assert [version["number"] for version in client.get("/api/v1/models/m").json()["versions"]] == [1, 2]
    assert client.get("/api/v1/models").json()[0]["latest"] == 2


def test_an_incomplete_upload_becomes_no_version(client: TestClient) -> None:
    file = {"path": "model.onnx", "size": 5, "sha256": digest(b"right")}
    begun = client.post("/api/v1/uploads", json={"files": [file]}).json()
    answer = client.post("/api/v1/models/m/versions", json={"upload": begun["id"]})
    assert 400 <= answer.status_code < 500
    assert client.get("/api/v1/models").json() == []


def test_a_corrupt_file_is_rejected_content(client: TestClient, upload) -> None:
    answer = client.post(
        "/api/v1/models/m/versions", json={"upload": upload(client, {"model.onnx": onnx_bytes()[:40]})}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "rejected_content")


def test_a_pickle_needs_trust(client: TestClient, upload) -> None:
    from sklearn.linear_model import LogisticRegression

    buffer = io.BytesIO()
    joblib.dump(LogisticRegression().fit(np.eye(2), [0, 1]), buffer)
    files = {"model.joblib": buffer.getvalue()}
    refused = client.post("/api/v1/models/m/versions", json={"upload": upload(client, files)})
    assert refused.status_code == 422 and "trust" in refused.json()["error"]
    taken = client.post(
        "/api/v1/models/m/versions", json={"upload": upload(client, files), "trust_pickle": True}
    )
    assert taken.status_code == 201 and taken.json()["trusted"]


def test_trust_has_a_reason_that_is_kept(client: TestClient, upload) -> None:
    from sklearn.linear_model import LogisticRegression

    buffer = io.BytesIO()
    joblib.dump(LogisticRegression().fit(np.eye(2), [0, 1]), buffer)
    asked = {
        "upload": upload(client, {"model.joblib": buffer.getvalue()}),
        "trust_pickle": True,
        "because": "ours",
    }
    made = client.post("/api/v1/models/m/versions", json=asked).json()
    assert made["trust"] == {"who": "someone on this machine", "because": "ours"}
    assert any(
        (each["what"], each["why"]) == ("version.add", "trusted: ours")
        for each in client.get("/api/v1/audit").json()
    )


def test_a_version_has_a_scan(client: TestClient, upload) -> None:
    client.post("/api/v1/models/m/versions", json={"upload": upload(client, {"model.onnx": onnx_bytes()})})
    scan = client.get("/api/v1/models/m/versions/1/scan").json()
    assert (scan["verdict"], scan["quarantine"]) == ("clean", None)
    (file,) = scan["files"]
    assert (file["path"], [each["scanner"] for each in file["verdicts"]]) == ("model.onnx", ["modelyard"])
    again = client.post("/api/v1/models/m/versions/1/scan", json={"again": True}).json()
    assert again["files"][0]["verdicts"][0]["time"] > file["verdicts"][0]["time"]
    assert client.get("/api/v1/models/m/versions/2/scan").status_code == 404
    assert client.post("/api/v1/models/m/versions/1/scan", json={"agian": True}).status_code == 400


def test_an_attack_makes_no_version(client: TestClient, upload) -> None:
    attack = {"model.onnx": onnx_bytes(), "extra.txt": b"cposix\nsystem\n(S'true'\ntR."}
    refused = client.post(
        "/api/v1/models/m/versions", json={"upload": upload(client, attack), "trust_pickle": True}
    )
    assert (refused.status_code, refused.json()["field"]) == (422, "extra.txt")
    assert "posix.system" in refused.json()["error"]
    assert client.get("/api/v1/models").json() == []


def test_a_model_can_be_deleted(client: TestClient, upload) -> None:
    client.post("/api/v1/models/m/versions", json={"upload": upload(client, {"model.onnx": onnx_bytes()})})
    assert client.delete("/api/v1/models/m").status_code == 204
    assert client.get("/api/v1/models/m").status_code == 404
    assert client.delete("/api/v1/models/m").status_code == 404


def test_a_number_beyond_the_database_is_invalid(client: TestClient) -> None:
    assert client.get(f"/api/v1/models/m/versions/{2**70}").status_code == 400
    assert client.get("/api/v1/models/m/versions/1").status_code == 404


def test_models_of_bad_names_are_invalid(client: TestClient) -> None:
    assert client.get("/api/v1/models/No%20Name").status_code == 400


def test_onnx_is_what_the_helper_makes() -> None:
    onnx.checker.check_model(onnx.load_from_string(onnx_bytes()))
