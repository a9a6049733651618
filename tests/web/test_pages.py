"""The pages on the control plane's own app: headers, who is let in, and what is said when things are away."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.control.app import create_app
from modelyard.core.deployment import DeploymentSettings
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.core.settings import Settings
from modelyard.core.signature import Signature, TensorSpec
from modelyard.web.pages import mount

with warnings.catch_warnings():
    # Starlette would like a successor of httpx here; httpx is what we depend on.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

SIGNATURE = Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(2,)),))


def browser_of(home: Path, **settings: Any) -> TestClient:
    app = create_app(Settings(home=str(home), **settings))
    mount(app)
    return TestClient(app, base_url="http://127.0.0.1:8700")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[TestClient]:
    with browser_of(tmp_path / "home") as opened:
        yield opened


def add_endpoint(
    browser: TestClient, name: str = "m", *, failure: str | None = None, **options: Any
) -> None:
    platform: Any = browser.app.state.platform  # pyright: ignore[reportAttributeAccessIssue]
    entry = FileEntry(path="model.onnx", size=1, sha256="0" * 64)
    analysis = Analysis(format="onnx", adapter="onnx", signature=SIGNATURE, example={"x": [1.0, 2.0]})
    version, _ = platform.versions.add(name, Manifest(files=(entry,)), analysis, False)
    settings = DeploymentSettings().changed(options)
    deployment = platform.endpoints.deploy(name, name, version.number, settings, "env")
    if failure is not None:
        platform.endpoints.set_state(deployment.id, "failed", failure)


def test_the_empty_page_tells_the_first_command(browser: TestClient) -> None:
    page = browser.get("/")
    assert page.status_code == 200
    assert "modelyard deploy ./model.onnx" in page.text


def test_nothing_may_be_loaded_from_elsewhere(browser: TestClient) -> None:
    page = browser.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert "http" not in page.text.replace("http://127.0.0.1", "")
    for path in ("/static/style.css", "/static/page.js", "/static/icon.svg"):
        assert browser.get(path).status_code == 200


def test_an_endpoint_shows_signature_curl_line_and_form(browser: TestClient) -> None:
    add_endpoint(browser)
    text = browser.get("/endpoints/m").text
    assert "FP32 [2]" in text
    assert 'name="input.x"' in text
    assert "[1.0, 2.0]" in text
    assert "curl" in text


def test_remotes_are_shown_also_where_nothing_is_deployed(browser: TestClient) -> None:
    put = browser.put(
        "/api/v1/remotes/far", json={"remotes": [{"url": "http://far:8701/", "model": "<b>"}]}
    )
    assert put.status_code == 200
    text = browser.get("/").text
    assert "Nothing is deployed yet" not in text
    for told in ("http://far:8701<", "&lt;b&gt;", 'class="state unknown"'):
        assert told in text


def test_an_endpoint_shows_its_options(browser: TestClient) -> None:
    add_endpoint(browser)
    add_endpoint(browser, "n", serving={"cache": 64_000_000, "fallback": "m", "max_wait": 0.004})
    text = browser.get("/endpoints/n").text
    for told in ("64.0 MB, each answer for 5 min 0 s", "<td>m</td>", "4.0 ms", "1024 rows"):
        assert told in text


def test_a_report_with_markup_is_shown_as_text(browser: TestClient) -> None:
    add_endpoint(browser, failure="Traceback\nValueError: <script>alert(1)</script>")
    for path in ("/", "/endpoints/m"):
        text = browser.get(path).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text


def test_a_node_that_is_away_is_an_answer_on_the_page(browser: TestClient) -> None:
    add_endpoint(browser)
    page = browser.post("/endpoints/m", data={"input.x": "[1, 2]"})
    assert page.status_code == 200
    assert "unavailable" in page.text
    assert "The node does not answer" in browser.get("/").text


def test_a_wrong_field_keeps_what_was_filled_in_and_says_where(browser: TestClient) -> None:
    add_endpoint(browser)
    text = browser.post("/endpoints/m", data={"input.x": "[1,"}).text
    assert "This is not JSON" in text
    assert "[1," in text
    assert 'class="field wrong"' in text


def test_an_endpoint_that_is_not_there_is_a_page_of_404(browser: TestClient) -> None:
    page = browser.get("/endpoints/nothing")
    assert page.status_code == 404
    assert "There is no such endpoint" in page.text
    assert browser.get("/fragment/endpoints/nothing").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_another_site_cannot_fill_in_a_form(browser: TestClient, headers: dict[str, str]) -> None:
    add_endpoint(browser)
    assert browser.post("/endpoints/m", data={"input.x": "[1, 2]"}, headers=headers).status_code == 403


def test_a_foreign_name_for_this_machine_is_refused(browser: TestClient) -> None:
    assert browser.get("/", headers={"host": "evil.example"}).status_code == 403


def test_the_pages_are_no_part_of_the_api_document(browser: TestClient) -> None:
    paths = browser.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if not path.startswith("/api/")]


def test_with_authentication_only_the_login_is_open(tmp_path: Path) -> None:
    with browser_of(tmp_path / "home", authentication=True) as browser:
        page = browser.get("/", headers={"accept": "text/html"}, follow_redirects=False)
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        assert browser.get("/endpoints/m").status_code == 401
        assert browser.get("/static/style.css").status_code == 200
        wrong = browser.post("/login", data={"key": "wrong"})
        assert wrong.status_code == 401
        assert "not known" in wrong.text

        key = (tmp_path / "home" / "key").read_text().strip()
        done = browser.post("/login", data={"key": key}, follow_redirects=False)
        cookie = done.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert browser.get("/").status_code == 200
        assert "Sign out" in browser.get("/").text
        browser.post("/logout")
        assert browser.get("/").status_code != 200 or "Sign in" in browser.get("/").text


def test_the_key_is_never_in_a_page(tmp_path: Path) -> None:
    with browser_of(tmp_path / "home", authentication=True) as browser:
        key = (tmp_path / "home" / "key").read_text().strip()
        browser.post("/login", data={"key": key})
        add_endpoint(browser)
        assert key not in browser.get("/").text + browser.get("/endpoints/m").text


def test_a_login_from_another_site_is_refused(tmp_path: Path) -> None:
    with browser_of(tmp_path / "home", authentication=True) as browser:
        key = (tmp_path / "home" / "key").read_text().strip()
        headers = {"sec-fetch-site": "cross-site"}
        assert browser.post("/login", data={"key": key}, headers=headers).status_code == 403


def test_any_key_signs_in_and_sees_its_project(tmp_path: Path) -> None:
    with browser_of(tmp_path / "home", authentication=True) as browser:
        add_endpoint(browser)
        platform = browser.app.state.platform
        platform.projects.create("blue")
        _, viewer = platform.keys.create("ada", project="default", role="viewer")
        _, stranger = platform.keys.create("bob", project="blue", role="admin")
        _, caller = platform.keys.create("app", project="default", role="caller")
        assert "opens no pages" in browser.post("/login", data={"key": caller}).text

        assert browser.post("/login", data={"key": viewer}).status_code == 200
        page = browser.get("/").text
        assert "ada (viewer of default)" in page and "/endpoints/m" in page
        assert browser.get("/endpoints/m").status_code == 200
        browser.post("/logout")

        browser.post("/login", data={"key": stranger})
        page = browser.get("/").text
        assert "bob (admin of blue)" in page and "/endpoints/m" not in page
        assert browser.get("/endpoints/m").status_code == 404
        assert browser.get("/fragment/endpoints/m").status_code == 404
        assert browser.post("/endpoints/m", data={}).status_code == 404

        platform.keys.revoke("bob")
        gone = browser.get("/", headers={"accept": "text/html"}, follow_redirects=False)
        assert (gone.status_code, gone.headers["location"]) == (303, "/login")
        assert "was revoked" in browser.post("/login", data={"key": stranger}).text
