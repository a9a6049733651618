"""Endpoints: what is wanted and what serves never name a deployment that is not there."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from modelyard.core.deployment import DeploymentSettings, DeploymentState
from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.versions import Versions

ANALYSIS = Analysis(format="onnx", adapter="onnx")
ONE, TWO = DeploymentSettings(), DeploymentSettings(replicas=2)


def _manifest(letter: str) -> Manifest:
    return Manifest(files=(FileEntry(path="model.onnx", size=1, sha256=letter * 64),))


@pytest.fixture
def endpoints(database: Database) -> Endpoints:
    versions = Versions(database)
    versions.add("m", _manifest("a"), ANALYSIS, False)
    versions.add("m", _manifest("b"), ANALYSIS, False)
    return Endpoints(database)


def test_the_first_deployment_makes_the_endpoint(endpoints: Endpoints) -> None:
    made = endpoints.deploy("e", "m", 1, ONE, "env")
    found = endpoints.get("e")
    assert (made.revision, made.state, found.wanted, found.serving) == (1, "pending", made.id, None)


def test_the_identical_deployment_is_the_wanted_one(endpoints: Endpoints) -> None:
    first = endpoints.deploy("e", "m", 1, ONE, "env")
    generation = endpoints.generation()
    assert endpoints.deploy("e", "m", 1, ONE, "env") == first
    assert endpoints.generation() == generation


@pytest.mark.parametrize(
    ("version", "wanted", "environment"), [(2, ONE, "env"), (1, TWO, "env"), (1, ONE, "another")]
)
def test_any_difference_makes_a_revision(
    endpoints: Endpoints, version: int, wanted: DeploymentSettings, environment: str
) -> None:
    endpoints.deploy("e", "m", 1, ONE, "env")
    assert endpoints.deploy("e", "m", version, wanted, environment).revision == 2


def test_a_failed_deployment_is_made_anew(endpoints: Endpoints) -> None:
    first = endpoints.deploy("e", "m", 1, ONE, "env")
    endpoints.set_state(first.id, "failed", "it raised")
    assert endpoints.deployment(first.id).reason == "it raised"
    assert endpoints.deploy("e", "m", 1, ONE, "env").revision == 2


def test_moving_the_traffic_retires_the_former_one(endpoints: Endpoints) -> None:
    first = endpoints.deploy("e", "m", 1, ONE, "env")
    endpoints.serve("e", first.id)
    second = endpoints.deploy("e", "m", 2, ONE, "env")
    assert endpoints.get("e").serving == first.id
    endpoints.serve("e", second.id)
    assert endpoints.get("e").serving == second.id
    assert [each.state for each in endpoints.deployments("e")] == ["retired", "ready"]


def test_reverting_wants_what_serves(endpoints: Endpoints) -> None:
    first = endpoints.deploy("e", "m", 1, ONE, "env")
    endpoints.serve("e", first.id)
    second = endpoints.deploy("e", "m", 2, ONE, "env")
    endpoints.set_state(second.id, "failed", "it raised")
    endpoints.revert("e")
    assert endpoints.get("e").wanted == first.id


def test_nothing_to_go_back_to_is_a_conflict(endpoints: Endpoints) -> None:
    endpoints.deploy("e", "m", 1, ONE, "env")
    with pytest.raises(Conflict, match="nothing to go back to"):
        endpoints.revert("e")


@pytest.mark.parametrize("state", ["failed", "retired"])
def test_what_has_ended_gets_no_traffic_and_no_new_life(
    endpoints: Endpoints, state: DeploymentState
) -> None:
    made = endpoints.deploy("e", "m", 1, ONE, "env")
    endpoints.set_state(made.id, state)
    with pytest.raises(Conflict):
        endpoints.serve("e", made.id)
    with pytest.raises(Conflict):
        endpoints.set_state(made.id, "ready")


def test_what_serves_cannot_be_retired(endpoints: Endpoints) -> None:
    made = endpoints.deploy("e", "m", 1, ONE, "env")
    endpoints.serve("e", made.id)
    with pytest.raises(Conflict, match="has the traffic"):
        endpoints.set_state(made.id, "retired")


def test_an_endpoint_is_not_served_by_anothers_deployment(endpoints: Endpoints) -> None:
    endpoints.deploy("e", "m", 1, ONE, "env")
    other = endpoints.deploy("other", "m", 1, ONE, "env")
    with pytest.raises(Conflict):
        endpoints.serve("e", other.id)


def test_a_version_that_is_not_there_cannot_be_deployed(endpoints: Endpoints) -> None:
    with pytest.raises(NotFound):
        endpoints.deploy("e", "m", 3, ONE, "env")
    assert endpoints.list() == []


def test_a_name_that_is_none_is_refused(endpoints: Endpoints) -> None:
    with pytest.raises(InvalidInput):
        endpoints.deploy("../e", "m", 1, ONE, "env")


def test_deleting_takes_the_deployments_along(endpoints: Endpoints) -> None:
    made = endpoints.deploy("e", "m", 1, ONE, "env")
    endpoints.serve("e", made.id)
    endpoints.delete("e")
    assert (endpoints.list(), endpoints.deployments()) == ([], [])
    with pytest.raises(NotFound):
        endpoints.delete("e")


def test_what_is_wanted_and_what_serves_is_current(endpoints: Endpoints) -> None:
    first = endpoints.deploy("e", "m", 1, ONE, "env")
    endpoints.serve("e", first.id)
    second = endpoints.deploy("e", "m", 2, ONE, "env")
    other = endpoints.deploy("a", "m", 1, ONE, "another")
    endpoints.deploy("n", "m", 1, ONE, None)
    endpoints.deploy("z", "m", 1, ONE, "env")
    assert endpoints.environments() == ["env", "another"]
    assert [each.endpoint for each in endpoints.current("env")] == ["e", "e", "z"]
    assert [each.id for each in endpoints.current("another")] == [other.id]
    endpoints.serve("e", second.id)
    endpoints.set_state(other.id, "failed", "no")
    assert [each.id for each in endpoints.current("env") if each.endpoint == "e"] == [second.id]
    assert endpoints.environments() == ["env"]
    assert first.id not in {each.id for each in endpoints.current("env")}


def test_a_deployment_moves_to_another_environment(endpoints: Endpoints, database: Database) -> None:
    made = endpoints.deploy("e", "m", 1, ONE, "env")
    endpoints.serve("e", made.id)
    before = endpoints.generation()
    endpoints.move_to(made.id, "env", "the same")
    assert endpoints.generation() == before
    endpoints.move_to(made.id, "other", "its own is gone", other="numpy is newer")
    assert endpoints.deployment(made.id).reason == "numpy is newer"
    now = endpoints.deployment(made.id)
    assert (now.environment, now.revision, now.state) == ("other", 1, "ready")
    assert endpoints.generation() > before
    (entry,) = [each for each in Audit(database).list(10) if each.what == "deployment.environment"]
    assert "its own is gone" in entry.why
    with pytest.raises(NotFound):
        endpoints.move_to("none", "other", "")


def test_the_oldest_endpoint_is_the_default(endpoints: Endpoints) -> None:
    assert endpoints.default() is None
    for name in ("z", "a"):
        endpoints.deploy(name, "m", 1, ONE, "env")
    assert endpoints.default() == "z"
    endpoints.delete("z")
    assert endpoints.default() == "a"


def test_every_change_is_audited_and_counted(endpoints: Endpoints, database: Database) -> None:
    start = endpoints.generation()
    first = endpoints.deploy("e", "m", 1, ONE, "env", who="ada", why="a try")
    endpoints.set_state(first.id, "starting")
    endpoints.serve("e", first.id)
    endpoints.delete("e", who="ada", why="done")
    assert endpoints.generation() == start + 4
    entries = [(entry.who, entry.what) for entry in Audit(database).list(5)]
    assert entries == [
        ("ada", "endpoint.delete"),
        ("system", "endpoint.serve"),
        ("system", "deployment.starting"),
        ("ada", "deployment.create"),
        ("ada", "endpoint.create"),
    ]


class EndpointMachine(RuleBasedStateMachine):
    """Any order of calls, on two endpoints and three models' versions."""

    made = Bundle("made")
    names = st.sampled_from(["e", "f"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.database = Database(self.folder / "modelyard.db")
        self.database.migrate()
        self.versions = Versions(self.database)
        self.endpoints = Endpoints(self.database)
        self.last = 0
        for model in ("m", "n"):
            for letter in "ab":
                self.versions.add(model, _manifest(letter), ANALYSIS, False)

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)

    @rule(
        target=made,
        name=names,
        model=st.sampled_from(["m", "n"]),
        version=st.sampled_from([1, 2]),
        wanted=st.sampled_from([ONE, TWO]),
    )
    def deploy(self, name: str, model: str, version: int, wanted: DeploymentSettings) -> str:
        try:
            deployment = self.endpoints.deploy(name, model, version, wanted, "env")
        except NotFound:
            assert model not in [each.name for each in self.versions.models()]
            return "gone"
        assert self.endpoints.get(name).wanted == deployment.id
        return deployment.id

    @rule(id=made, state=st.sampled_from(["pending", "starting", "ready", "failed", "retired"]))
    def set_state(self, id: str, state: DeploymentState) -> None:
        try:
            self.endpoints.set_state(id, state)
        except (NotFound, Conflict):
            return
        assert self.endpoints.deployment(id).state == state

    @rule(name=names, id=made)
    def serve(self, name: str, id: str) -> None:
        try:
            self.endpoints.serve(name, id)
        except (NotFound, Conflict):
            return
        assert self.endpoints.get(name).serving == id

    @rule(name=names)
    def revert(self, name: str) -> None:
        try:
            self.endpoints.revert(name)
        except (NotFound, Conflict):
            return
        found = self.endpoints.get(name)
        assert found.wanted == found.serving

    @rule(name=names)
    def delete(self, name: str) -> None:
        try:
            self.endpoints.delete(name)
        except NotFound:
            return
        assert self.endpoints.deployments(name) == []

    @rule(model=st.sampled_from(["m", "n"]))
    def delete_model(self, model: str) -> None:
        try:
            self.versions.delete_model(model)
        except (NotFound, Conflict):
            return

    @invariant()
    def every_endpoint_points_at_its_own_deployments_and_their_versions(self) -> None:
        deployments = {each.id: each for each in self.endpoints.deployments()}
        for endpoint in self.endpoints.list():
            for id in {endpoint.wanted, endpoint.serving or endpoint.wanted}:
                assert deployments[id].endpoint == endpoint.name
                self.versions.get(deployments[id].model, deployments[id].version)
            if endpoint.serving is not None:
                assert deployments[endpoint.serving].state != "retired"
        assert {each.endpoint for each in deployments.values()} == {
            each.name for each in self.endpoints.list()
        }

    @invariant()
    def the_generation_never_falls(self) -> None:
        assert self.endpoints.generation() >= self.last
        self.last = self.endpoints.generation()


TestEndpointMachine = EndpointMachine.TestCase
TestEndpointMachine.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
