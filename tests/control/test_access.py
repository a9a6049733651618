"""Who may do what: every address of the app, asked for with every kind of key, against the table."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from modelyard.control.access import TABLE, Row, Table, addresses
from modelyard.control.access_page import page
from modelyard.control.app import create_app
from modelyard.core.access import ROLES
from modelyard.core.errors import Internal
from modelyard.core.settings import Settings
from modelyard.host.log_lines import JsonFormatter
from modelyard.web.pages import mount
from support.access import Things, Yard, yard
from support.postgres import PostgresServer

ROLE = {
    "predicts": "caller",
    "viewer": "viewer",
    "operator": "operator",
    "admin": "admin",
    "other admin": "admin",
}
NOBODY = (None, "wrong", "expired", "revoked")
WHO = (*NOBODY, *ROLE, "installation", "home")
# One that is in no project, by what a path calls it.
MISSING = Things(
    "no-such", "no-such", "no-such", "0" * 24, "1" * 24, "2" * 24, "3" * 12, "4" * 64, "5" * 64
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    home = tmp_path_factory.mktemp("access") / "home"
    settings = Settings(home=str(home), authentication=True, control_host="0.0.0.0", control_port=0)
    if request.param == "sqlite":
        with yard(settings) as one:
            yield one
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create(server.migrated)
    with yard(replace(settings, database=url)) as one:
        yield one
    server.drop(url)


def filled(row: Row, things: Things) -> str:
    """The path of a row about ``things``."""
    name = {
        "model": things.model, "new model": things.model, "endpoint": things.endpoint, "new endpoint": things.endpoint,
        "job": things.job, "upload": things.upload, "deployment": things.deployment, "key": things.key,
        "environment": things.environment, "project": things.project,
    }.get(row.of, things.model if "/models/" in row.path else things.project)  # fmt: skip
    if row.path == "/static":
        return "/static/style.css"
    parts = {
        "name": name, "id": name, "key": name, "version": "1", "number": "1", "alias": "production",
        "sha256": things.sha256, "path": "model.onnx",
    }  # fmt: skip
    if row.path.startswith("/catalog/"):
        parts["name"] = "minilm"
    if "/parts/" in row.path:
        parts["number"] = "0"
    return row.path.replace(":path}", "}").format(**parts)


def answer(yard: Yard, who: str | None, row: Row, path: str) -> Any:
    """What is answered to a request whose body is never a right one, so that nothing is changed by asking."""
    if row.path.endswith("/events"):
        path += "?after=9007199254740991"
    options: dict[str, Any] = {}
    if row.method in ("PUT", "POST", "PATCH") and "/blobs/" not in path:
        options["content"] = b'{"no such key": 1}'
        options["headers"] = {"content-type": "application/json"}
    return yard.ask(who, row.method, path, **options)


def may(who: str, row: Row) -> bool:
    if who in ("installation", "home") or row.needed == "public":
        return True
    return row.needed != "installation" and ROLES.index(ROLE[who]) >= ROLES.index(row.role)


def test_every_route_has_a_row_and_every_row_a_route(settings: Settings) -> None:
    app = create_app(settings)
    mount(app)
    app.state.platform.stop()
    assert Table().without_row(app) == []
    known = set(addresses(app.routes))
    assert [row for row in TABLE if (row.method, row.path) not in known] == []
    assert len({(row.method, row.path) for row in TABLE}) == len(TABLE)


def test_an_app_with_a_route_that_nobody_decided_about_does_not_start(settings: Settings) -> None:
    app = create_app(settings)
    app.add_api_route("/api/v1/forgotten", lambda: None)
    with pytest.raises(Internal, match="GET /api/v1/forgotten"), TestClient(app):
        pass
    app.state.platform.stop()


def test_the_page_for_people_is_the_table(pytestconfig: pytest.Config) -> None:
    there = pytestconfig.rootpath / "docs" / "access.md"
    assert there.read_text() == page(), "write it anew: make schema"


# What deletes, ends or never ends is asked, by who may, about what is not there: he gets so far.
def harmless(row: Row) -> bool:
    if row.path == "/api/v1/jobs/{id}/events":
        return False
    return row.method == "GET" or (
        row.method != "DELETE" and "cancel" not in row.path and "/blobs/" not in row.path
    )


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_the_table_is_what_happens(made: Yard, row: Row, who: str | None) -> None:
    path = filled(row, made.ours)
    if row.needed == "public":
        told = answer(made, who, row, path)
        # The page to sign in says itself that a key is none.
        assert told.status_code not in (401, 403) or "Sign in" in told.text
        assert told.status_code != 404
    elif who in NOBODY:
        told = answer(made, who, row, path)
        assert (told.status_code, told.json()["code"]) == (401, "unauthenticated")
    elif not may(who, row):
        told = answer(made, who, row, path)
        assert (told.status_code, told.json()["code"]) == (403, "forbidden")
    elif who == "other admin" and row.of not in ("", "listed", "body"):
        told = answer(made, who, row, path)
        wanted = (409, "conflict") if row.of.startswith("new ") else (404, "not_found")
        assert (told.status_code, told.json()["code"]) == wanted
    elif harmless(row):
        told = answer(made, who, row, path)
        assert told.status_code not in (401, 403, 405, 409, 500), told.text
        assert told.status_code != 404 or row.path.endswith(("/logs", "/sbom", "/environments/{id}"))
    else:
        assert answer(made, who, row, filled(row, MISSING)).status_code == 404


@pytest.mark.parametrize(
    "row",
    [row for row in TABLE if row.of not in ("", "listed", "body")],
    ids=lambda row: f"{row.method} {row.path}",
)
def test_what_is_another_projects_is_told_as_what_does_not_exist(made: Yard, row: Row) -> None:
    there, nowhere = (answer(made, "admin", row, filled(row, things)) for things in (made.theirs, MISSING))
    if row.needed == "installation":
        assert there.status_code == nowhere.status_code == 403
        return
    if row.of.startswith("new "):
        named = made.theirs.model if row.of == "new model" else made.theirs.endpoint
        assert there.status_code == 409
        assert there.json()["error"] == f"The name {named!r} is taken; choose another one."
        return
    assert there.status_code == nowhere.status_code == 404
    assert _unnamed(there, made.theirs) == _unnamed(nowhere, MISSING)


def _unnamed(told: Any, things: Things) -> str:
    """An answer without what was asked for, and without the number of the request."""
    if told.headers["content-type"].startswith("text/html"):
        text = told.text
    else:
        body = told.json()
        del body["request_id"]
        text = json.dumps(body)
    for name in (things.model, things.endpoint, things.job, things.upload, things.deployment, things.key, things.environment, things.project):  # fmt: skip
        text = text.replace(name, "…")
    return text


@pytest.mark.parametrize(
    "row", [row for row in TABLE if row.of == "listed"], ids=lambda row: f"{row.method} {row.path}"
)
def test_lists_have_what_is_of_the_callers_project_alone(made: Yard, row: Row) -> None:
    told = answer(made, "admin", row, row.path)
    assert told.status_code == 200
    for name in (
        made.theirs.model,
        made.theirs.job,
        made.theirs.deployment,
        made.theirs.key,
        made.theirs.environment,
    ):
        assert name not in told.text
    everything = answer(made, "installation", row, row.path).text
    if row.path not in ("/api/v1/status", "/api/v1/environments"):
        assert "theirs" in everything and "theirs" not in told.text


def test_a_newline_behind_a_path_opens_nothing(made: Yard) -> None:
    # A router whose patterns end in $ takes it for the path without one.
    assert made.ask("viewer", "GET", "/api/v1/store%0A").status_code == 404
    assert made.ask("viewer", "GET", "/api/v1/store%0a").status_code == 404


def test_an_unknown_path_and_a_wrong_method_are_answered_as_ever(made: Yard) -> None:
    for who in ("viewer", "installation", "home"):
        assert made.ask(who, "GET", "/api/v1/nothing").status_code == 404
        told = made.ask(who, "PUT", "/api/v1/models", content=b"")
        assert (told.status_code, told.headers["allow"]) == (405, "GET")


def test_two_models_of_two_projects_are_not_compared(made: Yard) -> None:
    path = f"/api/v1/models/{made.ours.model}/versions/1"
    for other in (made.theirs.model, "no-such"):
        told = made.ask("admin", "GET", f"{path}/compare?to=1&model={other}")
        assert (told.status_code, told.json()["error"]) == (404, f"There is no model {other!r}.")
        body = {"model": other, "version": 1, "relation": "fine_tuned"}
        told = made.ask("operator", "PUT", f"{path}/parent", json=body | {"relation": "finetune"})
        assert told.status_code in (400, 404)


def test_a_search_finds_nothing_elsewhere(made: Yard) -> None:
    assert made.ask("admin", "GET", "/api/v1/versions?project=theirs").json()["versions"] == []
    found = made.ask("admin", "GET", "/api/v1/versions?name=theirs*").json()
    assert found["versions"] == []
    found = made.ask("installation", "GET", "/api/v1/versions?project=theirs").json()
    assert [each["model"] for each in found["versions"]] == [made.theirs.model]


def test_a_deployment_names_nothing_of_another_project(made: Yard) -> None:
    def deploy(**body: Any) -> tuple[int, str]:
        told = made.ask("operator", "POST", "/api/v1/deployments", json=body)
        return told.status_code, told.json()["error"]

    taken = (409, f"The name {made.theirs.endpoint!r} is taken; choose another one.")
    assert deploy(endpoint=made.theirs.endpoint, model=made.ours.model) == taken
    hidden = deploy(endpoint="new", model=made.theirs.model)
    assert hidden == (404, f"There is no model {made.theirs.model!r}.")
    assert deploy(endpoint="new", model="no-such")[0] == 404
    assert deploy(endpoint="new", upload=made.theirs.upload)[0] == 404
    assert deploy(endpoint="new", upload=made.ours.upload, model=made.theirs.model)[0] == 409
    options = {"serving": {"fallback": made.theirs.endpoint}}
    status, said = deploy(endpoint=made.ours.endpoint, model=made.ours.model, settings=options)
    assert status == 400 and "is no endpoint; the others are: none yet" in said


def test_what_reaches_further_than_a_project_is_for_admins(made: Yard) -> None:
    def status(who: str, method: str, path: str, body: dict[str, Any]) -> int:
        return made.ask(who, method, f"/api/v1{path}", json=body).status_code

    deployment = {"endpoint": made.ours.endpoint, "model": made.ours.model}
    pickled = deployment | {"upload": "none", "trust_pickle": True}
    assert [status(who, "POST", "/deployments", pickled) for who in ("operator", "admin")] == [403, 404]
    folders = deployment | {"settings": {"leave": {"folders": ["/etc"]}}}
    assert status("admin", "POST", "/deployments", folders) == 403
    secret = {"url": "http://example.org", "model": "m", "key_variable": "HOME"}
    socket = {"url": "unix:/run/node.sock", "model": "m"}
    for body in (secret, socket):
        assert status("admin", "POST", f"/remotes/{made.ours.endpoint}", body) == 403
        assert status("admin", "PUT", f"/remotes/{made.ours.endpoint}", {"remotes": [body]}) == 403


def test_the_audit_says_which_key_did_it(made: Yard) -> None:
    path = f"/api/v1/models/{made.ours.model}/card"
    headers = {"modelyard-user": "somebody-else"}
    assert made.ask("operator", "PATCH", path, json={"summary": "x"}, headers=headers).status_code == 200
    entry = made.ask("admin", "GET", "/api/v1/audit?limit=1").json()[0]
    assert (entry["who"], entry["what"], entry["project"]) == ("our-operator", "card.change", "ours")
    assert made.ask("other admin", "GET", "/api/v1/audit").text.count("our-operator") == 0
    about = f"/api/v1/audit?about={made.ours.model}"
    assert entry in made.ask("admin", "GET", about).json()
    assert made.ask("other admin", "GET", about).json() == []


def test_a_project_named_in_a_header_is_worked_in(made: Yard) -> None:
    def models(who: str, project: str) -> Any:
        return made.ask(who, "GET", "/api/v1/models", headers={"modelyard-project": project})

    assert [each["name"] for each in models("installation", "theirs").json()] == [made.theirs.model]
    assert [each["name"] for each in models("home", "ours").json()] == [made.ours.model]
    assert [each["name"] for each in models("viewer", "ours").json()] == [made.ours.model]
    hidden, missing = models("viewer", "theirs"), models("viewer", "no-such")
    assert hidden.status_code == missing.status_code == models("home", "no-such").status_code == 404
    assert hidden.json()["error"].replace("theirs", "no-such") == missing.json()["error"]


def test_a_key_of_one_control_plane_opens_another_and_ends_there_too(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.create(postgres.migrated)
    one, other = (
        Settings(
            home=str(tmp_path / name),
            database=url,
            authentication=True,
            control_host="0.0.0.0",
            control_port=0,
        )
        for name in ("a", "b")
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "blobs").symlink_to(tmp_path / "a" / "blobs")
    with yard(one) as here, TestClient(create_app(other), base_url="http://other.example") as there:
        headers = {"authorization": f"Bearer {here.secrets['viewer']}"}

        def models() -> tuple[int, Any]:
            told = there.get("/api/v1/models", headers=headers)
            return told.status_code, told.json()

        status, found = models()
        assert (status, [each["name"] for each in found]) == (200, [here.ours.model])
        platform = there.app.state.platform  # pyright: ignore[reportAttributeAccessIssue]
        generation = platform.endpoints.generation()
        assert here.ask("admin", "POST", "/api/v1/keys/our-viewer/revoke", json={}).status_code == 200
        assert models()[0] == 401
        # Its own loop looks at this every two seconds, and tells its node.
        assert platform.endpoints.generation() > generation
        assert platform.keys.grants() == here.platform.keys.grants()
    postgres.drop(url)


def test_an_upload_does_not_tell_what_another_project_has(made: Yard) -> None:
    data = f"the bytes of {made.theirs.project}".encode()
    files = [{"path": "model.onnx", "size": len(data), "sha256": made.theirs.sha256}]
    upload = made.ask("operator", "POST", "/api/v1/uploads", json={"files": files}).json()
    assert upload["missing"] == [made.theirs.sha256]
    path = f"/api/v1/uploads/{upload['id']}"
    version = {"upload": upload["id"]}
    told = made.ask("operator", "POST", "/api/v1/models/copied/versions", json=version)
    assert told.status_code == 409 and "have not been uploaded" in told.json()["error"]
    blob = f"{path}/blobs/{made.theirs.sha256}"
    assert made.ask("operator", "POST", blob).status_code == 404  # no part has come
    assert made.ask("operator", "PUT", blob, content=b"x" * len(data)).status_code == 400
    assert made.ask("operator", "GET", path).json()["missing"] == [made.theirs.sha256]
    assert made.ask("operator", "PUT", blob, content=data).status_code == 204
    assert made.ask("operator", "GET", path).json()["missing"] == []
    quick = made.ask("installation", "POST", "/api/v1/uploads", json={"files": files}).json()
    assert quick["missing"] == []
    for id in (upload["id"], quick["id"]):
        assert made.ask("installation", "DELETE", f"/api/v1/uploads/{id}").status_code == 204


def test_keys_are_made_and_ended_by_admins_of_their_project(made: Yard) -> None:
    def make(who: str, **body: Any) -> Any:
        return made.ask(who, "POST", "/api/v1/keys", json=body)

    assert make("admin", name="new-boss", admin=True).status_code == 403
    assert make("admin", name="stray", project="theirs").status_code == 404
    assert make("admin", name="stray", endpoints=[made.theirs.endpoint]).status_code == 404
    assert (
        make("admin", name="their-admin").json()["error"]
        == "The name 'their-admin' is taken; choose another one."
    )
    key = make("admin", name="deputy", role="admin", expires_in=60.0)
    assert key.status_code == 201
    secret, id = key.json()["secret"], key.json()["key"]["id"]
    assert made.ask(secret, "GET", "/api/v1/me").json()["project"] == "ours"
    assert secret not in made.ask("admin", "GET", "/api/v1/keys").text
    rotated = made.ask("admin", "POST", f"/api/v1/keys/{id}/rotate", json={}).json()
    assert made.ask(secret, "GET", "/api/v1/me").status_code == 401
    assert made.ask(rotated["secret"], "GET", "/api/v1/me").status_code == 200
    assert (
        made.ask("admin", "POST", "/api/v1/keys/deputy/revoke", json={"because": "done"}).status_code == 200
    )
    assert made.ask(rotated["secret"], "GET", "/api/v1/me").status_code == 401


def test_no_key_that_was_made_is_ever_logged(made: Yard, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made.ask("viewer", "GET", "/api/v1/models")
    made.client.get("/api/v1/models", headers={"cookie": f"modelyard_key={made.secrets['viewer']}"})
    made.client.cookies.clear()
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert any('"path":"/api/v1/models"' in line for line in lines)
    assert not any(made.secrets["viewer"] in line for line in lines)
