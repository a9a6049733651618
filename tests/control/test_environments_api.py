"""The API of environments: what is built, with what in it, for whom."""

from typing import Any

from modelyard.core.deployment import DeploymentSettings
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis


def test_environments_are_told_with_their_packages_and_users(client: Any) -> None:
    assert client.get("/api/v1/environments").json() == []
    platform = client.app.state.platform
    environment = platform.environments.ensure([])
    (told,) = client.get("/api/v1/environments").json()
    assert (told["id"], told["packages"], told["used_by"]) == (environment.id, [], [])
    assert told["last_used"] >= told["created"]
    assert told["size"] == environment.size > 0

    entry = FileEntry(path="model.onnx", size=1, sha256="0" * 64)
    platform.versions.add("m", Manifest(files=(entry,)), Analysis(format="onnx", adapter="onnx"), False)
    for name in ("a", "b"):
        platform.endpoints.deploy(name, "m", 1, DeploymentSettings(), environment.id)
    told = client.get(f"/api/v1/environments/{environment.id}").json()
    assert [user["endpoint"] for user in told["used_by"]] == ["a", "b"]
    platform.endpoints.deploy("b", "m", 1, DeploymentSettings(), "another")
    (told,) = client.get("/api/v1/environments").json()
    assert [user["endpoint"] for user in told["used_by"]] == ["a"]


def test_packages_are_those_of_the_lock(client: Any) -> None:
    platform = client.app.state.platform
    lock = "# a comment\nnumpy==2.1.0 \\\n    --hash=sha256:0\nscipy==1.14.0\n"
    environment = platform.environments.ensure([])
    description = platform.home.environments / environment.id / "environment.json"
    description.write_text(
        description.read_text().replace('"lock": ""', f'"lock": {__import__("json").dumps(lock)}')
    )
    (told,) = client.get("/api/v1/environments").json()
    assert told["packages"] == ["numpy==2.1.0", "scipy==1.14.0"]


def test_what_is_no_environment_is_not_found(client: Any) -> None:
    answer = client.get("/api/v1/environments/0123abc")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for wrong in ("..", "%2e%2e%2fblobs", ".locks", "A b"):
        assert client.get(f"/api/v1/environments/{wrong}").status_code in (400, 404)


def test_nothing_is_cleaned_while_nobody_knows_what_runs(client: Any) -> None:
    platform = client.app.state.platform
    environment = platform.environments.ensure([])
    answer = client.post("/api/v1/environments/clean", json={"older_than": 0})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "The node does not answer" in answer.json()["error"]
    assert platform.environments.list() == [environment]


def test_a_clean_up_that_asks_for_nonsense_is_refused(client: Any) -> None:
    for wrong in ({"older_than": -1}, {"older_than": "1d"}, {"dry": True}, {"dry_run": 1}):
        assert client.post("/api/v1/environments/clean", json=wrong).status_code == 400
