"""What the forms of a model's page do, and whom they do it for."""

from pathlib import Path

import pytest

from support.pages import TestClient, add, perceptron, pickled, platform_of


@pytest.fixture
def fraud(registry: TestClient, tmp_path: Path) -> TestClient:
    for seed in (0, 1):
        add(registry, "fraud", {"model.onnx": perceptron(tmp_path, seed=seed)})
    return registry


def post(browser: TestClient, number: int, what: str, **fields: str) -> tuple[int, str]:
    page = browser.post(f"/models/fraud/versions/{number}/{what}", data=fields, follow_redirects=False)
    return page.status_code, page.headers.get("location", "") or page.text


def test_an_alias_moves_with_its_reason(fraud: TestClient) -> None:
    assert post(fraud, 1, "aliases", do="move", alias="production", expected="0", because="first") == (
        303, "/models/fraud/versions/1#history",
    )  # fmt: skip
    assert (
        post(fraud, 2, "aliases", do="move", alias="production", expected="1", because="better")[0] == 303
    )
    (first, second) = platform_of(fraud).aliases.history("fraud")
    assert (first.version, second.version, second.why) == (1, 2, "better")
    assert post(fraud, 2, "aliases", do="remove", alias="production", expected="2")[0] == 303
    assert platform_of(fraud).aliases.list("fraud") == {}


def test_who_looked_at_another_state_is_told_who_was_faster(fraud: TestClient) -> None:
    post(fraud, 1, "aliases", do="move", alias="production", expected="0", because="mine")
    status, text = post(fraud, 2, "aliases", do="move", alias="production", expected="0")
    assert status == 409
    assert "This was not done" in text and "at version 1 now" in text and "mine" in text
    assert platform_of(fraud).aliases.list("fraud") == {"production": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"do": "move", "alias": "NO", "expected": "0"},
        {"do": "move", "alias": "7", "expected": "0"},
        {"do": "move", "alias": "a", "expected": "x"},
        {"do": "other", "alias": "a", "expected": "0"},
        {"do": "move", "alias": "a", "expected": "0", "because": "x" * 2001},
        {},
    ],
)
def test_rubbish_is_refused_on_the_page(fraud: TestClient, fields: dict[str, str]) -> None:
    status, text = post(fraud, 1, "aliases", **fields)
    assert status == 400 and "This was not done" in text
    assert platform_of(fraud).aliases.list("fraud") == {}


def test_a_version_is_deprecated_and_that_is_taken_back(fraud: TestClient) -> None:
    assert post(fraud, 1, "deprecation", do="deprecate", because="drifts")[0] == 303
    assert "drifts" in fraud.get("/models/fraud/versions/1").text
    post(fraud, 1, "deprecation", do="undo")
    assert platform_of(fraud).versions.get("fraud", 1).deprecated is None


def test_a_version_is_deleted_only_when_somebody_means_it_and_restored(fraud: TestClient) -> None:
    assert post(fraud, 1, "delete")[0] == 400
    assert post(fraud, 1, "delete", sure="yes", because="wrong labels")[0] == 303
    assert platform_of(fraud).versions.get("fraud", 1).deleted.why == "wrong labels"
    assert post(fraud, 1, "delete", sure="yes")[0] == 303  # twice is no harm
    assert post(fraud, 1, "restore")[0] == 303
    assert platform_of(fraud).versions.get("fraud", 1).deleted is None


def test_a_version_that_is_used_is_not_deleted_and_the_page_says_by_what(fraud: TestClient) -> None:
    post(fraud, 1, "aliases", do="move", alias="production", expected="0")
    status, text = post(fraud, 1, "delete", sure="yes")
    assert status == 409 and "the alias production" in text


def test_a_version_in_quarantine_is_trusted_with_a_reason(registry: TestClient) -> None:
    add(registry, "fraud", {"model.pkl": pickled()}, trusted=True)
    platform = platform_of(registry)
    platform.versions.set_quarantine("fraud", 1, "It could run code.")
    assert "In quarantine" in registry.get("/models/fraud").text
    assert post(registry, 1, "trust", because="I made it")[0] == 400  # not sure
    assert post(registry, 1, "trust", sure="yes")[0] == 400  # no reason
    assert post(registry, 1, "trust", sure="yes", because="I made it") == (
        303,
        "/models/fraud/versions/1#safety",
    )
    assert platform.versions.get("fraud", 1).quarantine is None


def test_a_deployment_is_a_job_with_a_page(fraud: TestClient) -> None:
    status, place = post(fraud, 2, "deploy", endpoint="shop")
    assert status == 303 and place.startswith("/jobs/")
    text = fraud.get(place).text
    assert "Deploy shop" in text and "environment" in text
    assert fraud.get(f"/fragment{place}").status_code == 200
    assert post(fraud, 2, "deploy", endpoint="NO")[0] == 400
    assert fraud.get("/jobs/nothing").status_code == 404


@pytest.mark.parametrize("what", ["aliases", "deprecation", "delete", "restore", "trust", "deploy"])
@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}], ids=str
)
def test_another_site_changes_nothing(fraud: TestClient, what: str, headers: dict[str, str]) -> None:
    fields = {"do": "move", "alias": "a", "expected": "0", "sure": "yes", "because": "x", "endpoint": "e"}
    page = fraud.post(f"/models/fraud/versions/1/{what}", data=fields, headers=headers)
    assert page.status_code == 403
    assert platform_of(fraud).aliases.list("fraud") == {}
    assert platform_of(fraud).versions.get("fraud", 1).deleted is None


def test_a_change_of_what_is_not_there_is_a_page_of_404(fraud: TestClient) -> None:
    assert post(fraud, 9, "delete", sure="yes")[0] == 404
