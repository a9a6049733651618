"""Projects: what is in them, what moves together, and what keeps them from being deleted."""

import pytest

from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.deployment import DeploymentSettings, ServingOptions
from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.model import Analysis
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import Remote
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.keys import Keys
from modelyard.store.projects import Projects
from modelyard.store.remotes import Remotes
from modelyard.store.uploads import Uploads
from support.registry import Registry, manifest

SETTINGS = DeploymentSettings()


@pytest.fixture
def projects(database: Database) -> Projects:
    projects = Projects(database)
    projects.create("blue", who="boss")
    projects.create("red")
    return projects


def add(registry: Registry, model: str, project: str | None = None) -> None:
    registry.versions.add(
        model, manifest(model), Analysis(format="onnx", adapter="onnx"), False, project=project
    )


def test_one_project_is_always_there_and_has_what_names_none(
    projects: Projects, registry: Registry
) -> None:
    registry.add("m")
    found = {each.name: each for each in projects.list()}
    assert list(found) == [DEFAULT_PROJECT, "blue", "red"]
    assert (found[DEFAULT_PROJECT].models, found["blue"].models, found["blue"].who) == (1, 0, "boss")
    with pytest.raises(Conflict, match="always there"):
        projects.delete(DEFAULT_PROJECT)
    with pytest.raises(Conflict, match="already"):
        projects.create(DEFAULT_PROJECT)
    with pytest.raises(InvalidInput):
        projects.create("No Name")


def test_a_models_name_is_taken_for_all_projects(projects: Projects, registry: Registry) -> None:
    add(registry, "m", "blue")
    with pytest.raises(Conflict, match="'m' is taken; choose another one"):
        add(registry, "m", "red")
    with pytest.raises(NotFound, match="no project 'green'"):
        add(registry, "n", "green")
    assert projects.of_model("m") == "blue" and projects.of_model("n") is None
    assert [each.name for each in registry.versions.models(project="blue")] == ["m"]


def test_an_endpoint_is_of_the_project_of_its_models(projects: Projects, registry: Registry) -> None:
    add(registry, "m", "blue")
    add(registry, "n", "red")
    registry.endpoints.deploy("e", "m", 1, SETTINGS, None)
    assert projects.of_endpoint("e") == "blue"
    with pytest.raises(Conflict, match="'e' is taken"):
        registry.endpoints.deploy("e", "n", 1, SETTINGS, None)


def test_remotes_and_deployments_of_one_name_are_of_one_project(
    projects: Projects, registry: Registry, database: Database
) -> None:
    remotes = Remotes(database)
    add(registry, "m", "blue")
    route = RemoteRoute(endpoint="e", remotes=(Remote(url="http://far:1", model="m"),))
    remotes.put(route, project="red")
    with pytest.raises(Conflict, match="taken"):
        registry.endpoints.deploy("e", "m", 1, SETTINGS, None)
    with pytest.raises(Conflict, match="taken"):
        remotes.add("e", Remote(url="http://far:2", model="m"), project="blue")
    assert [each.endpoint for each in remotes.list(project="red")] == ["e"]
    assert remotes.list(project="blue") == []


def test_a_model_moves_with_its_endpoints_remotes_and_jobs(
    projects: Projects, registry: Registry, database: Database
) -> None:
    add(registry, "m", "blue")
    deployment = registry.endpoints.deploy("e", "m", 1, SETTINGS, None)
    Remotes(database).put(
        RemoteRoute(endpoint="e", remotes=(Remote(url="http://far:1", model="m"),)), project="blue"
    )
    job = registry.jobs.create("deploy", "e", (), {}, project="blue")
    generation = registry.endpoints.generation()
    assert projects.move("m", "red", who="boss") == ["e"]
    assert registry.endpoints.generation() > generation  # nodes are told
    found = (
        projects.of_model("m"), projects.of_endpoint("e"), projects.of_job(job.id), projects.of_deployment(deployment.id),
    )  # fmt: skip
    assert set(found) == {"red"}
    told = {(each.project, each.what) for each in Audit(database).list(100) if each.who == "boss"}
    assert {("blue", "model.leave"), ("red", "model.move")} <= told
    assert projects.move("m", "red") == ["e"]  # again changes nothing
    with pytest.raises(NotFound):
        projects.move("m", "green")
    with pytest.raises(NotFound):
        projects.move("nobody", "red")


def test_what_is_bound_to_something_that_stays_does_not_move(
    projects: Projects, registry: Registry
) -> None:
    for name in ("m", "n", "child"):
        add(registry, name, "blue")
    registry.endpoints.deploy("e", "m", 1, SETTINGS, None)
    registry.endpoints.deploy("e", "n", 1, SETTINGS, None)
    with pytest.raises(Conflict, match="revisions of 'n'"):
        projects.move("m", "red")
    registry.endpoints.delete("e")
    registry.endpoints.deploy("f", "n", 1, SETTINGS, None)
    fallen = DeploymentSettings(serving=ServingOptions(fallback="f"))
    registry.endpoints.deploy("e", "m", 1, fallen, None)
    for model in ("m", "n"):
        with pytest.raises(Conflict, match="'f' is the fallback of 'e'"):
            projects.move(model, "red")
    registry.endpoints.delete("e")
    registry.lineage.set(("child", 1), ("m", 1), "finetune", who="a")
    for model in ("m", "child"):
        with pytest.raises(Conflict, match="'child' were made from versions of 'm'"):
            projects.move(model, "red")
    assert projects.move("n", "red") == ["f"]


def test_versions_are_made_from_those_of_their_own_project(projects: Projects, registry: Registry) -> None:
    add(registry, "m", "blue")
    add(registry, "n", "red")
    with pytest.raises(Conflict, match="another project"):
        registry.lineage.set(("m", 1), ("n", 1), "finetune", who="a")


def test_a_project_is_deleted_when_nothing_is_in_it(
    projects: Projects, registry: Registry, database: Database
) -> None:
    add(registry, "m", "blue")
    keys = Keys(database)
    keys.create("k", project="blue", role="viewer")
    job = registry.jobs.create("deploy", "e", (), {}, project="blue")
    Uploads(database).create(list(manifest("x").files), project="blue")
    with pytest.raises(Conflict, match="1 model, 1 upload, 1 job under way, 1 key"):
        projects.delete("blue")
    registry.versions.delete_model("m")
    registry.jobs.cancel(job.id)
    Uploads(database).expire(1e12)
    keys.revoke("k")
    projects.delete("blue", who="boss")
    with pytest.raises(NotFound):
        projects.get("blue")
    with pytest.raises(NotFound):
        projects.delete("blue")
    with pytest.raises(NotFound):
        registry.jobs.get(job.id)
    assert keys.list("blue") == []


def test_the_audit_of_what_is_gone_stays_with_its_project(
    projects: Projects, registry: Registry, database: Database
) -> None:
    add(registry, "m", "blue")
    registry.endpoints.deploy("e", "m", 1, SETTINGS, None)
    registry.endpoints.delete("e")
    registry.versions.delete_model("m")
    told = [each.what for each in Audit(database).list(100, project="blue")]
    assert {"model.add", "version.add", "deployment.create", "endpoint.delete", "model.delete"} <= set(told)
    assert Audit(database).list(100, project="red")[:-1] == []  # but that it was made
