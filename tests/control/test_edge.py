"""Who may come in, what they may bring, and what each answer carries."""

import json
import logging
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from modelyard.control.access import Row
from modelyard.control.app import create_app
from modelyard.control.edge import request_id_from
from modelyard.core.errors import InvalidInput
from modelyard.core.settings import Settings


@pytest.fixture
def guarded(tmp_path) -> Iterator[TestClient]:
    settings = Settings(home=str(tmp_path / "guarded"), authentication=True, control_host="0.0.0.0")
    with TestClient(create_app(settings), base_url="http://yard.example") as client:
        yield client


def key_of(client: TestClient) -> str:
    return client.app.state.platform.key


@pytest.mark.parametrize("host", ["localhost", "localhost:8700", "127.0.0.1:1", "[::1]:8700", "LOCALHOST"])
def test_this_machines_own_names_come_in(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8700", "", "[::1"]
)
def test_a_foreign_host_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/v1/models", headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "http://[", "file://"]
)
def test_a_page_of_another_origin_is_refused(client: TestClient, origin: str) -> None:
    answer = client.post("/api/v1/jobs/x/cancel", headers={"origin": origin})
    assert (answer.status_code, answer.json()["field"]) == (403, "origin")


def test_our_own_pages_come_in(client: TestClient) -> None:
    answer = client.get("/api/v1/models", headers={"origin": "http://localhost"})
    assert answer.status_code == 200


def test_the_key_is_accepted_from_anywhere_without_authentication(client: TestClient) -> None:
    headers = {"host": "evil.example", "authorization": f"Bearer {key_of(client)}"}
    assert client.get("/api/v1/models", headers=headers).status_code == 200


def test_a_wrong_key_does_not_open_the_door_for_a_foreign_host(client: TestClient) -> None:
    headers = {"host": "evil.example", "authorization": "Bearer wrong"}
    assert client.get("/api/v1/models", headers=headers).status_code == 403


def test_with_authentication_no_key_is_unauthenticated_and_says_how(guarded: TestClient) -> None:
    answer = guarded.get("/api/v1/models")
    assert answer.status_code == 401
    assert "Authorization: Bearer" in answer.json()["error"]
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("value", ["Bearer ", "Bearer wrong", "Basic abc", "Bearer é", "Bearer a b"])
def test_with_authentication_a_wrong_key_is_unauthenticated(guarded: TestClient, value: str) -> None:
    answer = guarded.get("/api/v1/models", headers=[(b"authorization", value.encode())])
    assert answer.status_code == 401


def test_with_authentication_the_key_opens(guarded: TestClient) -> None:
    headers = {"authorization": f"Bearer {key_of(guarded)}"}
    assert guarded.get("/api/v1/models", headers=headers).status_code == 200


def test_the_pages_cookie_opens(guarded: TestClient) -> None:
    headers = {"cookie": f"modelyard_key={key_of(guarded)}"}
    assert guarded.get("/api/v1/models", headers=headers).status_code == 200


def test_the_cookie_does_not_work_for_a_page_of_another_origin(guarded: TestClient) -> None:
    headers = {"cookie": f"modelyard_key={key_of(guarded)}", "origin": "http://evil.example"}
    assert guarded.post("/api/v1/jobs/x/cancel", headers=headers).status_code == 403


def test_health_needs_no_key(guarded: TestClient) -> None:
    for path in ("/health", "/ready", "/api/v1/health", "/api/v1/ready"):
        assert guarded.get(path).status_code == 200


def test_pages_can_be_made_public_and_a_browser_is_sent_to_the_login(guarded: TestClient) -> None:
    guarded.app.state.public |= {"/login", "/static/"}
    guarded.app.state.login.append("/login")
    assert guarded.get("/login").status_code == 404
    assert guarded.get("/static/style.css").status_code == 404
    assert guarded.get("/staticfiles").status_code == 401
    page = guarded.get("/", headers={"accept": "text/html"}, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/login")


def test_an_open_address_without_authentication_is_refused_with_what_to_do(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="authentication = true"):
        create_app(Settings(home=str(tmp_path), control_host="0.0.0.0"))


def test_a_body_over_the_limit_is_too_large(client: TestClient) -> None:
    answer = client.post("/api/v1/uploads", content=b"x" * (1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_body_over_the_limit_without_a_length_is_too_large(client: TestClient) -> None:
    answer = client.post("/api/v1/uploads", content=(b"x" * 65536 for _ in range(17)))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "required"),
        (b"{", "not JSON"),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
        (b"null", ""),
        (b'{"files": "no"}', "files"),
        (
            b'{"upload": "a", "files": [{"path": "a", "size": 1, "sha256": "' + b"0" * 64 + b'"}]}',
            "not known",
        ),
        (b'{"files": [{"path": "a", "size": NaN, "sha256": ""}]}', "size"),
        (b'{"files": [{"path": "\\ud800", "size": 1, "sha256": ""}]}', "path"),
        (b'{"files": [{"path": "a", "size": 1e400, "sha256": ""}]}', "size"),
        (b'{"files": [{"path": "a", "size": true, "sha256": ""}]}', "size"),
        (b'{"files": [{"path": "a", "size": "1", "sha256": ""}]}', "size"),
        (b'{"files": [{"path": "../a", "size": 1, "sha256": "' + b"0" * 64 + b'"}]}', "files[0].path"),
    ],
)
def test_a_bad_body_is_invalid_input_and_names_the_place(
    client: TestClient, body: bytes, said: str
) -> None:
    answer = client.post("/api/v1/uploads", content=body, headers={"content-type": "application/json"})
    told = answer.json()
    assert (answer.status_code, told["code"]) == (400, "invalid_input")
    assert said in f"{told['error']} {told.get('field')}"


def test_an_unknown_address_is_not_found(client: TestClient) -> None:
    answer = client.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_wrong_method_is_405_and_names_the_right_ones(client: TestClient) -> None:
    answer = client.put("/api/v1/models", content=b"")
    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (
        405,
        "invalid_input",
        "GET",
    )


def test_the_callers_request_id_comes_back_in_header_and_error(client: TestClient) -> None:
    answer = client.get("/api/v1/models/none", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine-1"


@pytest.mark.parametrize("told", [None, "", "a" * 129, "tab\there", "é", "line\nfeed"])
def test_an_unusable_request_id_is_replaced(told: str | None) -> None:
    made = request_id_from(told)
    assert made != told and len(made) == 16


def test_a_fault_of_ours_is_internal_and_tells_no_details(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings)
    app.state.access.add(Row("GET", "/fault", "viewer"))

    @app.get("/fault")
    def fault() -> None:
        raise RuntimeError("secret detail")

    with TestClient(app, base_url="http://localhost") as client:
        answer = client.get("/fault", headers={"x-request-id": "abc"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text and "abc" in answer.json()["error"]
    assert any(
        record.exc_info and record.request_id == "abc" for record in caplog.records if record.levelno > 30
    )


def test_no_key_is_ever_logged(guarded: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    from modelyard.host.log_lines import JsonFormatter

    caplog.set_level(logging.DEBUG)
    key = key_of(guarded)
    guarded.get("/api/v1/models", headers={"authorization": f"Bearer {key}"})
    guarded.get("/api/v1/models", headers={"cookie": f"modelyard_key={key}"})
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert any('"path":"/api/v1/models"' in line for line in lines)
    assert not any(key in line for line in lines)
    assert all(json.loads(line)["level"] for line in lines)
