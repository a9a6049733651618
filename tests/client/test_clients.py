"""Both clients against a real HTTP server: each fact holds for the one that blocks and the awaited one."""

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from modelyard.client import AsyncClient, Client
from modelyard.core.errors import Conflict, InvalidInput, ModelyardError, NotFound, Overloaded, Unavailable
from modelyard.core.job import JobEvent
from modelyard.core.provenance import Source
from support.ports import free_port

from .conftest import Script, handler_of

METADATA = {"name": "m", "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]}
ENDPOINT = {
    "endpoint": {"name": "m", "wanted": "d1", "serving": "d1"},
    "serving": None,
    "wanted": {"id": "d1", "endpoint": "m", "revision": 1, "model": "m", "version": 1, "settings": {}, "state": "ready"},
    "url": "http://n/models/m",
    "state": "ready",
    "unknown_to_this_client": 1,
}  # fmt: skip


class Blocking:
    """Gives the awaited client the face of the blocking one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._loop.run_until_complete(method(*arguments, **options))

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@pytest.fixture(params=[Client, Blocking], ids=["blocking", "awaited"])
def client(request: pytest.FixtureRequest, script: Script) -> Iterator[Any]:
    script.answer("GET", "/api/v1/status", status_of(script.url))
    made = request.param(script.url, "the-key", timeout=100.0)
    yield made
    made.close()


def status_of(node: str) -> dict[str, Any]:
    return {"version": "1", "control": {"pid": 1}, "node": {"url": node, "up": True}}


def test_a_prediction_sends_arrays_and_gives_arrays(client: Any, script: Script) -> None:
    script.answer("POST", "/models/m/predict", {"y": [0.25, 0.75]}, headers={"modelyard-version": "1"})
    script.answer("GET", "/v2/models/m", METADATA)
    outputs = client.predict("m", {"a": 1}, x=numpy.array([1, 2], "int8"))
    assert json.loads(script.bodies("/models/m/predict")[0]) == {"a": 1, "x": [1, 2]}
    assert outputs["y"].dtype == numpy.float32
    assert outputs["y"].tolist() == [0.25, 0.75]


def test_raw_outputs_are_as_json_has_them(client: Any, script: Script) -> None:
    script.answer("POST", "/models/m/predict", {"y": [0.25]})
    assert client.predict("m", x=1, raw=True) == {"y": [0.25]}


def test_the_key_is_sent_to_both_addresses(client: Any, script: Script) -> None:
    script.answer("POST", "/models/m/predict", {})
    client.predict("m", x=1, raw=True)
    assert {request[3].get("authorization") for request in script.requests} == {"Bearer the-key"}


def test_a_new_version_has_its_own_output_types(client: Any, script: Script) -> None:
    script.answer("POST", "/models/m/predict", {"y": [1]}, headers={"modelyard-version": "1"})
    script.answer("POST", "/models/m/predict", {"y": [1]}, headers={"modelyard-version": "2"})
    script.answer("GET", "/v2/models/m", METADATA)
    script.answer("GET", "/v2/models/m", {"outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}]})
    assert [client.predict("m", x=1)["y"].dtype for _ in range(3)] == ["float32", "int64", "int64"]


def test_an_error_comes_back_as_its_own_class_with_field_and_time(client: Any, script: Script) -> None:
    body = {"error": "x must be a number.", "code": "invalid_input", "field": "x", "retryable": False}
    script.answer("POST", "/models/m/predict", body, status=400)
    with pytest.raises(InvalidInput) as raised:
        client.predict("m", x="a")
    assert (raised.value.message, raised.value.field) == ("x must be a number.", "x")
    script.answer(
        "POST",
        "/models/n/predict",
        {"error": "full", "code": "overloaded"},
        status=429,
        headers={"retry-after": "7"},
    )
    with pytest.raises(Overloaded) as full:
        client.predict("n", x=1)
    assert full.value.retry_after == 7


def test_an_error_page_of_a_proxy_keeps_its_status(client: Any, script: Script) -> None:
    script.answer("GET", "/api/v1/endpoints", b"<h1>no</h1>", status=409)
    with pytest.raises(Conflict, match="409"):
        client.endpoints()


def test_a_503_with_a_time_is_tried_again(client: Any, script: Script) -> None:
    body = {"error": "being replaced", "code": "unavailable"}
    script.answer("POST", "/models/m/predict", body, status=503, headers={"retry-after": "0"})
    script.answer("POST", "/models/m/predict", {"y": 1})
    assert client.predict("m", x=1, raw=True) == {"y": 1}


def test_a_503_without_a_time_is_not(client: Any, script: Script) -> None:
    script.answer("POST", "/models/m/predict", {"error": "it died", "code": "unavailable"}, status=503)
    with pytest.raises(Unavailable, match="it died"):
        client.predict("m", x=1)
    assert len(script.bodies("/models/m/predict")) == 1


def test_a_wait_longer_than_the_timeout_is_not_waited(client: Any, script: Script) -> None:
    body = {"error": "come back tomorrow", "code": "unavailable"}
    script.answer("POST", "/models/m/predict", body, status=503, headers={"retry-after": "86400"})
    with pytest.raises(Unavailable, match="tomorrow"):
        client.predict("m", x=1)


def test_a_node_that_is_being_restarted_is_waited_for(client: Any, script: Script) -> None:
    port = free_port()
    script._answers.clear()
    script.answer("GET", "/api/v1/status", status_of(f"http://127.0.0.1:{port}"))
    from http.server import ThreadingHTTPServer

    later = Script()
    later.answer("POST", "/models/m/predict", {"y": 2})
    started: list[ThreadingHTTPServer] = []

    def start() -> None:
        while not script.requests:  # until the address has been asked for
            time.sleep(0.01)
        server = ThreadingHTTPServer(("127.0.0.1", port), handler_of(later))
        started.append(server)
        server.serve_forever(poll_interval=0.01)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        assert client.predict("m", x=1, raw=True) == {"y": 2}
    finally:
        started[0].shutdown()
        thread.join()
        started[0].server_close()


def test_a_batch_gives_each_record_its_own_outcome(client: Any, script: Script) -> None:
    bad = {"error": "x is missing.", "code": "invalid_input", "field": "records[1].x"}
    script.answer(
        "POST",
        "/models/m/predict/batch",
        {"predictions": [{"y": [1, 2]}, bad]},
        headers={"modelyard-version": "1"},
    )
    script.answer("GET", "/v2/models/m", METADATA)
    good, failed = client.predict_batch("m", [{"x": 1}, {}])
    assert good["y"].dtype == numpy.float32
    assert isinstance(failed, InvalidInput)
    assert failed.field == "records[1].x"
    assert client.predict_batch("m", []) == []


def test_an_endpoint_of_a_newer_platform_is_understood(client: Any, script: Script) -> None:
    script.answer("GET", "/api/v1/endpoints", [ENDPOINT])
    (found,) = client.endpoints()
    assert (found.name, found.current.version, found.predict_url) == ("m", 1, "http://n/models/m/predict")


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda client: client.access.create_project("Vi sion"), "'Vi sion' cannot be a name: use"),
        (lambda client: client.access.create_key("Ann Other"), "'Ann Other' cannot be a name: use"),
        (lambda client: client.access.create_key("a", project="A"), "'A' cannot be a name: use"),
        (lambda client: client.access.create_key("a", endpoints=["A"]), "'A' cannot be a name: use"),
        (lambda client: client.access.move_model("m", "A"), "'A' cannot be a name: use"),
        (lambda client: client.access.move_model("m/2", "a"), "without one: m"),
        (lambda client: client.registry.alias("m/2", "production", 1), "without one: m"),
        (lambda client: client.registry.remove_alias("m/2", "production"), "without one: m"),
        (lambda client: client.registry.aliases("m@production"), "without one: m"),
        (lambda client: client.registry.history("m/2"), "without one: m"),
        (lambda client: client.registry.change_card("m/2", task="x"), "without one: m"),
        (lambda client: client.model("m/2"), "without one: m"),
        (lambda client: client.delete_model("m/2"), "without one: m"),
    ],
)
def test_a_name_that_cannot_be_is_told_in_a_sentence_before_anything_is_sent(
    script: Script, ask: Callable[[Client], object], told: str
) -> None:
    with Client(script.url, "the-key") as client, pytest.raises(InvalidInput, match=told):
        ask(client)
    assert script.requests == []


def test_names_are_quoted_in_paths(client: Any, script: Script) -> None:
    with pytest.raises(NotFound):
        client.endpoint("../jobs?x=1")
    assert script.requests[-1][1] == "/api/v1/endpoints/..%2Fjobs%3Fx%3D1"


def job(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "j1", "kind": "deploy", "subject": "m", "state": state, "stages": ["register"], **more}


def story(*kinds: str, first: int = 1) -> bytes:
    events = [
        {"job": "j1", "sequence": first + index, "time": 0.0, "kind": kind}
        for index, kind in enumerate(kinds)
    ]
    return b": hello\n\n" + b"".join(
        b"id: 1\ndata: %b\n\n" % json.dumps(event).encode() for event in events
    )


def expect_deploy(script: Script, missing: list[str]) -> None:
    script.answer("POST", "/api/v1/uploads", {"id": "u1", "missing": missing}, status=201)
    script.answer("POST", "/api/v1/deployments", job("queued"), status=202)
    for digest in missing:
        script.answer("PUT", f"/api/v1/uploads/u1/blobs/{digest}", status=204)
    script.answer("GET", "/api/v1/endpoints/m", ENDPOINT)


def test_deploy_sends_only_what_is_missing_and_once(client: Any, script: Script, tmp_path: Path) -> None:
    contents = {"a": b"known" * 1000, "b": b"new" * 700_000, "c": b"new" * 700_000}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    new = hashlib.sha256(contents["b"]).hexdigest()
    expect_deploy(script, [new])
    script.answer("GET", "/api/v1/jobs/j1/events?after=0", story("stage_started", "done"))
    script.answer("GET", "/api/v1/jobs/j1", job("done"))
    events: list[JobEvent] = []
    assert client.deploy(tmp_path, "m", on_event=events.append).name == "m"
    puts = [request for request in script.requests if request[0] == "PUT"]
    assert [(request[1].rpartition("/")[2], request[2]) for request in puts] == [(new, contents["b"])]
    sent = [event for event in events if event.stage == "upload" and event.kind == "progress"]
    assert sent[-1].current == sent[-1].total == len(contents["b"])
    assert events[-1].kind == "done"


def test_a_large_file_goes_in_the_parts_that_are_missing(
    client: Any, script: Script, tmp_path: Path
) -> None:
    content = b"0" * 1000 + b"1" * 1000 + b"2" * 500
    (tmp_path / "w").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    blob = f"/api/v1/uploads/u1/blobs/{digest}"
    upload = {"id": "u1", "missing": [digest], "part_size": 1000}
    script.answer("POST", "/api/v1/uploads", {**upload, "parts": {digest: [1]}}, status=201)
    script.answer("PUT", f"{blob}/parts/0", status=204)
    # Somebody else sends this one; then that one is here, and the file is not whole for an instant yet.
    script.answer("PUT", f"{blob}/parts/2", {"error": "by another", "code": "conflict"}, status=409)
    script.answer("GET", "/api/v1/uploads/u1", {**upload, "parts": {digest: [0, 1, 2]}})
    script.answer("POST", blob, {"error": "not yet", "code": "conflict"}, status=409)
    script.answer("POST", blob, status=204)
    script.answer("POST", "/api/v1/deployments", job("queued"), status=202)
    script.answer("GET", "/api/v1/endpoints/m", ENDPOINT)
    script.answer("GET", "/api/v1/jobs/j1/events?after=0", story("done"))
    script.answer("GET", "/api/v1/jobs/j1", job("done"))
    assert client.deploy(tmp_path, "m").name == "m"
    sent = sorted(
        (path.rpartition("/")[2], body) for method, path, body, _ in script.requests if method == "PUT"
    )
    assert sent == [("0", b"0" * 1000), ("2", b"2" * 500)]
    assert len(script.bodies(blob)) == 2


def test_a_full_disk_in_an_upload_is_told_at_once(client: Any, script: Script, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"w")
    digest = hashlib.sha256(b"w").hexdigest()
    script.answer("POST", "/api/v1/uploads", {"id": "u1", "missing": [digest]}, status=201)
    full = {"error": "The disk is full.", "code": "unavailable"}
    script.answer("PUT", f"/api/v1/uploads/u1/blobs/{digest}", full, status=503)
    with pytest.raises(Unavailable, match="disk is full"):
        client.deploy(tmp_path, "m")
    assert len([each for each in script.requests if each[0] == "PUT"]) == 1


def test_deploy_says_only_the_options_that_are_given(client: Any, script: Script, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    expect_deploy(script, [])
    script.answer("GET", "/api/v1/jobs/j1/events?after=0", story("done"))
    script.answer("GET", "/api/v1/jobs/j1", job("done"))
    client.deploy(tmp_path / "m.onnx", cache=0, fallback="n", device="cpu", timeout=None)
    client.deploy(tmp_path / "m.onnx", replicas=2, reset=True)
    first, second = (json.loads(body) for body in script.bodies("/api/v1/deployments"))
    assert first["settings"] == {"serving": {"cache": 0, "fallback": "n"}, "resources": {"device": "cpu"}}
    assert (first["reset"], second["reset"], second["settings"]) == (False, True, {"replicas": 2})


@pytest.mark.parametrize(
    "options", [{"max_bach": 8}, {"max_cost": 0}, {"cache": -1}, {"latency_target": 0.0}]
)
def test_options_that_cannot_be_are_refused_before_anything_is_sent(
    client: Any, script: Script, tmp_path: Path, options: dict[str, Any]
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(InvalidInput) as told:
        client.deploy(tmp_path / "m.onnx", **options)
    assert told.value.field == next(iter(options))
    assert not script.requests


def test_a_call_may_have_its_own_time_priority_and_no_cache(client: Any, script: Script) -> None:
    script.answer("POST", "/models/m/predict", {"y": [1.0]})
    script.answer("POST", "/models/m/predict/batch", {"predictions": [{"y": [1.0]}]})
    client.predict("m", {"timeout": 7}, timeout=50.0, priority=3, cache=False, raw=True)
    client.predict_batch("m", [{}], timeout=50.0, raw=True)
    client.predict("m", x=1, raw=True)
    one, many, plain = (headers for method, _, _, headers in script.requests if method == "POST")
    assert all(10.0 < float(told["modelyard-timeout"]) <= 50.0 for told in (one, many))
    assert (one["modelyard-priority"], one["cache-control"]) == ("3", "no-cache")
    assert not plain.keys() & {"modelyard-timeout", "modelyard-priority", "cache-control"}
    assert json.loads(script.bodies("/models/m/predict")[0]) == {"timeout": 7}


def pieces(*told: dict[str, Any]) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in told)


def test_pieces_of_an_answer_are_told_as_they_come(client: Any, script: Script) -> None:
    about = {"model_name": "m", "model_version": "1"}
    script.answer("POST", "/v2/models/m/generate_stream", pieces(about | {"y": "a"}, about | {"y": "b"}))
    seen: list[dict[str, Any]] = []
    assert client.predict_stream("m", {"text": "x"}, seen.append, priority=2) == 2
    assert seen == [{"y": "a"}, {"y": "b"}]
    (asked,) = [request for request in script.requests if request[0] == "POST"]
    assert (json.loads(asked[2]), asked[3]["modelyard-priority"]) == ({"text": "x"}, "2")


def test_an_error_behind_the_first_piece_is_raised(client: Any, script: Script) -> None:
    error = {"error": "too slow", "code": "overloaded"}
    script.answer("POST", "/v2/models/m/generate_stream", pieces({"y": "a"}, error))
    seen: list[dict[str, Any]] = []
    with pytest.raises(Overloaded, match="too slow"):
        client.predict_stream("m", {}, seen.append)
    assert seen == [{"y": "a"}]


def test_an_answer_that_breaks_off_is_not_taken_for_whole(client: Any, script: Script) -> None:
    body = pieces({"y": "a"})
    chunk = b"%x\r\n%b\r\n" % (len(body), body)  # and no last chunk
    script.answer(
        "POST", "/v2/models/m/generate_stream", chunk,
        headers={"transfer-encoding": "chunked", "connection": "close"},
    )  # fmt: skip
    seen: list[dict[str, Any]] = []
    with pytest.raises(Unavailable, match="broke off"):
        client.predict_stream("m", {}, seen.append)
    assert seen == [{"y": "a"}]


def test_a_failed_job_raises_what_it_failed_with(client: Any, script: Script, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"x")
    expect_deploy(script, [])
    script.answer("GET", "/api/v1/jobs/j1/events?after=0", story("failed"))
    error = {"error": "It does not start.\nTraceback: boom", "code": "rejected_content", "retryable": False}
    script.answer("GET", "/api/v1/jobs/j1", job("failed", error=error))
    with pytest.raises(ModelyardError, match="boom") as raised:
        client.deploy(tmp_path / "m.onnx")
    assert raised.value.code == "rejected_content"


def test_a_story_that_breaks_off_is_taken_up_where_it_was(client: Any, script: Script) -> None:
    script.answer("GET", "/api/v1/jobs/j1/events?after=0", story("stage_started", "stage_done"))
    script.answer("GET", "/api/v1/jobs/j1/events?after=2", story("stage_done", "done", first=2))
    script.answer("GET", "/api/v1/jobs/j1", job("done"))
    events: list[JobEvent] = []
    assert client.follow("j1", events.append).state == "done"
    assert [event.sequence for event in events] == [1, 2, 3]


def test_where_nobody_listens_the_error_says_what_to_do(client: Any, script: Script) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        other = type(client)(f"http://127.0.0.1:{reserved.getsockname()[1]}", timeout=0.2)
        try:
            with pytest.raises(Unavailable, match="modelyard up"):
                other.endpoints()
        finally:
            other.close()


def test_a_refusal_in_the_middle_of_an_upload_is_told(script: Script, tmp_path: Path) -> None:
    """The server answers and hangs up before it has read the body."""
    content = b"z" * (30 * 1024 * 1024)
    (tmp_path / "m.onnx").write_bytes(content)
    expect_deploy(script, [hashlib.sha256(content).hexdigest()])
    body = json.dumps({"error": "The disk is full.", "code": "unavailable"}).encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            connection.recv(1024)
            connection.sendall(
                b"HTTP/1.1 201 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(upload) + upload
            )
            connection.close()
            connection, _ = listener.accept()
            connection.recv(65536)
            head = b"HTTP/1.1 503 x\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            connection.sendall(head + body)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 20):
                pass
            connection.close()

        upload = json.dumps({"id": "u1", "missing": [hashlib.sha256(content).hexdigest()]}).encode()
        thread = threading.Thread(target=refuse)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url) as client, pytest.raises(Unavailable, match="disk is full"):
            client.begin_deploy(tmp_path / "m.onnx", "m")
        thread.join()


def test_a_version_tells_where_it_came_from_and_who_signed_it(client: Any, script: Script) -> None:
    path = "/api/v1/models/m/versions/3"
    came = {
        "source": {"kind": "hub", "name": "o/n", "revision": "c0ffee", "sha256": None, "of": None},
        "uploader": "key", "user": "a@b", "client": "modelyard 1", "digest": "d", "first": 1.0, "last": 2.0,
    }  # fmt: skip
    signed = {
        "digest": "s", "bundle": "{}", "place": "", "who": "key", "created": 1.0, "verdict": "verified", "key": "k.pem", "why": "",
    }  # fmt: skip
    script.answer("GET", f"{path}/provenance", [came])
    script.answer("GET", f"{path}/signatures", [signed])
    script.answer("POST", f"{path}/signatures", signed, status=201)
    script.answer("GET", f"{path}/sbom", {"bomFormat": "CycloneDX"})
    script.answer("GET", "/api/v1/environments/e/sbom", {"bomFormat": "CycloneDX"})
    (found,) = client.provenance("m", 3)
    assert (found.source.revision, found.user) == ("c0ffee", "a@b")
    assert [each.verdict for each in client.signatures("m", 3)] == ["verified"]
    assert client.add_signature("m", 3, "{}").key == "k.pem"
    assert json.loads(script.bodies(f"{path}/signatures")[-1]) == {"bundle": "{}"}
    assert client.sbom("m", 3) == client.environment_sbom("e") == {"bomFormat": "CycloneDX"}


@pytest.mark.parametrize(
    "given", [None, Source(kind="url", name="https://me:pw@host/m.py?key=1", sha256="a" * 64)]
)
def test_a_deployment_says_where_its_files_came_from(
    client: Any, script: Script, tmp_path: Path, given: Source | None
) -> None:
    (tmp_path / "m.py").write_text("x")
    script.answer("POST", "/api/v1/uploads", {"id": "u", "missing": []}, status=201)
    script.answer("POST", "/api/v1/deployments", job("queued"), status=202)
    client.begin_deploy(tmp_path / "m.py", source=given)
    told = json.loads(script.bodies("/api/v1/deployments")[0])["provenance"]
    assert told["client"].startswith("modelyard ")
    assert "@" in told["user"]
    name = "m.py" if given is None else "https://host/m.py?…"
    assert (told["source"]["kind"], told["source"]["name"]) == ("path" if given is None else "url", name)
