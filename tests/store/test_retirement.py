"""Deprecation, deletion with a grace, and what keeps a version from being deleted."""

import pytest

from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Conflict, NotFound
from support.registry import Clock, Registry


@pytest.fixture
def two(registry: Registry) -> Registry:
    registry.add("m")
    registry.add("m")
    return registry


def test_what_is_deprecated_says_so_until_that_is_taken_back(two: Registry) -> None:
    told = two.retirement.deprecate("m", 1, who="ada", why="it drifts").deprecated
    assert told is not None
    assert (told.who, told.why) == ("ada", "it drifts")
    assert two.versions.get("m", 1).deprecated == told
    two.retirement.undeprecate("m", 1, who="ada")
    assert two.versions.get("m", 1).deprecated is None


def test_a_deleted_version_is_neither_the_latest_nor_listed(two: Registry) -> None:
    two.retirement.delete("m", 2, grace=100, who="ada", why="wrong labels")
    assert two.versions.latest("m").number == 1
    assert two.versions.model("m").versions == (1,)
    gone = two.versions.get("m", 2).deleted
    assert gone is not None
    assert (gone.who, gone.why, gone.until) == ("ada", "wrong labels", 1100)


def test_it_can_be_restored_within_the_grace(two: Registry, clock: Clock) -> None:
    two.retirement.delete("m", 2, grace=100, who="ada")
    assert two.retirement.collect(clock.now + 99) == 0
    assert two.retirement.restore("m", 2, who="ada").deleted is None
    assert two.versions.latest("m").number == 2
    assert two.retirement.collect(clock.now + 1000) == 0


def test_after_the_grace_it_is_gone_and_its_number_is_not_given_again(two: Registry, clock: Clock) -> None:
    digests = two.versions.referenced_digests()
    two.retirement.delete("m", 2, grace=100, who="ada")
    assert two.versions.referenced_digests() == digests
    assert two.retirement.collect(clock.now + 100) == 1
    assert len(two.versions.referenced_digests()) == len(digests) - 1
    with pytest.raises(NotFound):
        two.retirement.restore("m", 2, who="ada")
    assert two.add("m").number == 3


def test_the_same_files_bring_a_deleted_version_back(registry: Registry) -> None:
    registry.add("m", of="these")
    registry.retirement.delete("m", 1, grace=100, who="ada")
    again = registry.add("m", of="these")
    assert (again.number, again.deleted) == (1, None)


def test_a_model_of_deleted_versions_alone_has_no_latest(two: Registry) -> None:
    for number in (1, 2):
        two.retirement.delete("m", number, grace=100, who="ada")
    assert (two.versions.model("m").latest, two.versions.model("m").versions) == (0, ())
    with pytest.raises(NotFound, match="All versions of the model 'm' are deleted"):
        two.versions.latest("m")


def test_what_is_used_is_not_deleted_and_the_users_are_named(two: Registry, clock: Clock) -> None:
    deployed = two.endpoints.deploy("shop", "m", 1, DeploymentSettings(), None)
    two.aliases.move("m", "production", 1, who="ada")
    two.add("small")
    two.lineage.set(("small", 1), ("m", 1), "variant", who="ada")
    job = two.jobs.create("deploy", "other", ("register",), {"model": "m", "version": 1})
    with pytest.raises(Conflict) as told:
        two.retirement.delete("m", 1, grace=0, who="ada")
    for user in ("the endpoint shop", "the alias production", f"the job {job.id}", "small/1"):
        assert user in told.value.message
    two.jobs.cancel(job.id)
    two.endpoints.delete(deployed.endpoint)
    two.aliases.remove("m", "production", who="ada")
    with pytest.raises(Conflict, match="small/1, which was made from it;"):
        two.retirement.delete("m", 1, grace=0, who="ada")
    two.retirement.delete("small", 1, grace=1000, who="ada")
    assert two.retirement.delete("m", 1, grace=0, who="ada").deleted is not None
    # Its child may still be restored, and then has to know where it comes from.
    assert two.retirement.collect(clock.now + 1) == 0
    assert two.retirement.collect(clock.now + 1000) == 2


def test_a_job_that_has_registered_it_uses_it(two: Registry) -> None:
    job = two.jobs.create("deploy", "e", ("register", "start"), {"model": "m", "version": None})
    two.retirement.delete("m", 1, grace=0, who="ada")
    two.retirement.restore("m", 1, who="ada")
    two.jobs.event(job.id, "stage_done", "register", data={"model": "m", "version": 1})
    with pytest.raises(Conflict, match=f"the job {job.id}"):
        two.retirement.delete("m", 1, grace=0, who="ada")


def test_a_revision_that_was_replaced_keeps_nothing(two: Registry) -> None:
    for number in (1, 2):
        made = two.endpoints.deploy("e", "m", number, DeploymentSettings(), None)
        two.endpoints.serve("e", made.id)
    assert two.retirement.delete("m", 1, grace=0, who="ada").deleted is not None


def test_what_is_deleted_is_neither_deployed_nor_named(two: Registry) -> None:
    two.retirement.delete("m", 1, grace=100, who="ada")
    with pytest.raises(Conflict, match="restore it"):
        two.endpoints.deploy("e", "m", 1, DeploymentSettings(), None)
    with pytest.raises(Conflict, match="restore it"):
        two.aliases.move("m", "production", 1, who="ada")
    with pytest.raises(Conflict, match="restore it"):
        two.lineage.set(("m", 2), ("m", 1), "variant", who="ada")


def test_a_model_that_others_were_made_from_is_kept(two: Registry) -> None:
    two.add("small")
    two.lineage.set(("small", 1), ("m", 1), "variant", who="ada")
    two.lineage.set(("m", 2), ("m", 1), "fine_tune", who="ada")
    with pytest.raises(Conflict, match="small/1"):
        two.versions.delete_model("m")
    two.lineage.remove("small", 1, who="ada")
    two.versions.delete_model("m")
    assert [model.name for model in two.versions.models()] == ["small"]
