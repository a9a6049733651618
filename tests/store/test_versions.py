"""Versions: numbered from one, known by their digest, kept while an endpoint uses them."""

import pytest

from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis, Trust
from modelyard.core.signature import Signature, TensorSpec
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.versions import Versions

ANALYSIS = Analysis(format="sklearn", adapter="sklearn", options={"file": "m.joblib", "signature": None})
SIGNATURE = Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(4,)),))


def _manifest(letter: str) -> Manifest:
    return Manifest(files=(FileEntry(path="m.joblib", size=1, sha256=letter * 64),))


@pytest.fixture
def versions(database: Database) -> Versions:
    return Versions(database)


def test_several_are_read_at_once_and_what_is_not_there_is_left_out(database: Database) -> None:
    versions = Versions(database)
    for model in ("a", "b"):
        for digit in "12":
            versions.add(model, _manifest(digit), ANALYSIS, False)
    found = versions.several([("a", 1), ("b", 2), ("b", 3), ("c", 1)])
    assert found == {("a", 1): versions.get("a", 1), ("b", 2): versions.get("b", 2)}
    assert versions.several([]) == {}
    assert len(versions.several([("a", number) for number in range(1200)])) == 2


def test_versions_are_numbered_within_their_model(versions: Versions) -> None:
    numbers = [
        versions.add(model, _manifest(letter), ANALYSIS, False)[0].number
        for model, letter in (("m", "a"), ("m", "b"), ("n", "a"))
    ]
    assert numbers == [1, 2, 1]
    assert versions.model("m").versions == (1, 2)
    assert [model.name for model in versions.models()] == ["m", "n"]


def test_the_same_files_are_the_same_version(versions: Versions) -> None:
    first, new = versions.add("m", _manifest("a"), ANALYSIS, False)
    again, new_again = versions.add("m", _manifest("a"), ANALYSIS, False)
    assert (new, new_again, again) == (True, False, first)


def test_what_was_added_is_what_is_found(versions: Versions) -> None:
    added, _ = versions.add("m", _manifest("a"), ANALYSIS, True)
    assert versions.get("m", 1) == added == versions.latest("m")


def test_trust_is_given_but_never_taken(versions: Versions) -> None:
    versions.add("m", _manifest("a"), ANALYSIS, False)
    assert versions.add("m", _manifest("a"), ANALYSIS, True)[0].trusted
    assert versions.add("m", _manifest("a"), ANALYSIS, False)[0].trusted
    assert versions.get("m", 1).trusted


def test_the_first_reason_for_trust_is_kept_with_who_gave_it_and_each_is_audited(
    database: Database,
) -> None:
    versions = Versions(database)
    said = [
        ("root", ""),
        ("ada", "trained by us"),
        ("bob", ""),
        ("bob", "so says Ada"),
        ("ada", "trained by us"),
    ]
    trust = [
        versions.add("m", _manifest("a"), ANALYSIS, True, who=who, because=because)[0].trust
        for who, because in said
    ]
    first, then = Trust(who="root", because=""), Trust(who="ada", because="trained by us")
    assert trust == [first, then, then, then, then]
    assert {each.subject for each in Audit(database).list(9, about="m")} == {"m", "m/1"}
    assert {each.subject for each in Audit(database).list(9, about="m/1")} == {"m/1"}
    assert Audit(database).list(9, about="_") == Audit(database).list(9, about="m/") == []
    told = [
        (each.who, each.what, each.why)
        for each in reversed(Audit(database).list(9))
        if each.what != "model.add"
    ]
    assert told == [
        ("root", "version.add", "trusted"),
        ("ada", "version.trust", "trained by us"),
        ("bob", "version.trust", "so says Ada"),
    ]


def test_what_is_not_there_is_not_found(versions: Versions) -> None:
    versions.add("m", _manifest("a"), ANALYSIS, False)
    for call in (
        lambda: versions.get("m", 2),
        lambda: versions.get("n", 1),
        lambda: versions.latest("n"),
        lambda: versions.model("n"),
        lambda: versions.delete_model("n"),
        lambda: versions.learn("n", 1, SIGNATURE),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_bad_name_makes_no_model(versions: Versions) -> None:
    with pytest.raises(InvalidInput):
        versions.add("No Name", _manifest("a"), ANALYSIS, False)
    assert versions.models() == []


def test_a_signature_is_learnt_once(versions: Versions) -> None:
    versions.add("m", _manifest("a"), ANALYSIS, False)
    versions.learn("m", 1, SIGNATURE)
    versions.learn("m", 1, Signature(inputs=()))
    assert versions.get("m", 1).analysis.signature == SIGNATURE


def test_a_model_in_use_is_kept(versions: Versions, database: Database) -> None:
    versions.add("m", _manifest("a"), ANALYSIS, False)
    endpoints = Endpoints(database)
    endpoints.deploy("e", "m", 1, DeploymentSettings(), None)
    with pytest.raises(Conflict, match="endpoint e"):
        versions.delete_model("m")
    endpoints.delete("e")
    versions.delete_model("m")
    assert versions.models() == []
    assert versions.referenced_digests() == set()


def test_a_model_that_an_endpoint_has_left_can_go(versions: Versions, database: Database) -> None:
    endpoints = Endpoints(database)
    for model in ("m", "n"):
        versions.add(model, _manifest("a"), ANALYSIS, False)
        endpoints.serve("e", endpoints.deploy("e", model, 1, DeploymentSettings(), None).id)
    versions.delete_model("m")
    assert [each.model for each in endpoints.deployments("e")] == ["m", "n"]


def test_every_blob_of_every_version_is_referenced(versions: Versions) -> None:
    for letter in "ab":
        versions.add("m", _manifest(letter), ANALYSIS, False)
    assert versions.referenced_digests() == {"a" * 64, "b" * 64}
