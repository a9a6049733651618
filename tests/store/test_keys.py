"""API keys: shown once, kept as a digest, ended, replaced; what nodes are told of them."""

import pytest
from sqlalchemy import select

from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.model import Analysis
from modelyard.store import tables
from modelyard.store.database import Database
from modelyard.store.keys import USED_EVERY, Keys, digest_of, principal_of
from modelyard.store.projects import Projects
from support.registry import Clock, Registry, manifest


@pytest.fixture
def keys(database: Database, clock: Clock) -> Keys:
    Projects(database).create("blue")
    return Keys(database, clock)


def test_a_key_is_known_by_its_secret_which_is_not_kept(keys: Keys, database: Database) -> None:
    key, secret = keys.create("ci", project="blue", role="operator", who="boss")
    assert secret.startswith(f"myk_{key.id}_") and len(secret.removeprefix(f"myk_{key.id}_")) == 43
    found = keys.known(secret)
    assert found is not None and (found.name, found.project, found.role, found.who) == (
        "ci",
        "blue",
        "operator",
        "boss",
    )
    with database.session() as session:
        row = session.execute(select(tables.api_keys)).one()
    assert row.digest == digest_of(secret)
    assert secret.rpartition("_")[2] not in str(row)
    for wrong in ("", secret[:-1], secret + "a", secret.upper(), "myk_", "é" * 60):
        assert keys.known(wrong) is None


def test_a_name_is_given_once_because_the_audit_says_it(keys: Keys) -> None:
    keys.create("ci", project="blue", role="viewer")
    keys.revoke("ci")
    with pytest.raises(Conflict, match="taken"):
        keys.create("ci", project=None, role="admin")
    with pytest.raises(InvalidInput):
        keys.create("system", project="blue", role="viewer")


def test_what_cannot_be_is_refused(keys: Keys, clock: Clock) -> None:
    with pytest.raises(NotFound, match="no project"):
        keys.create("a", project="green", role="viewer")
    with pytest.raises(InvalidInput, match="expired already"):
        keys.create("a", project="blue", role="viewer", expires=clock.now)
    with pytest.raises(InvalidInput, match="admin's"):
        keys.create("a", project=None, role="viewer")
    with pytest.raises(InvalidInput, match="predicts"):
        keys.create("a", project="blue", role="viewer", endpoints=["e"])
    with pytest.raises(NotFound, match="no endpoint 'e'"):
        keys.create("a", project="blue", role="caller", endpoints=["e"])
    assert keys.list() == []


def test_a_revoked_and_an_expired_key_are_over(keys: Keys, clock: Clock) -> None:
    _, secret = keys.create("a", project="blue", role="viewer", expires=clock.now + 10)
    key = keys.known(secret)
    assert key is not None and not key.over(clock.now)
    clock.now += 10
    key = keys.known(secret)
    assert key is not None and key.over(clock.now)
    clock.now -= 10
    first = keys.revoke("a").revoked
    clock.now += 1
    assert keys.revoke("a").revoked == first
    key = keys.known(secret)
    assert key is not None and key.over(clock.now)


def test_when_it_was_used_is_written_once_a_minute(keys: Keys, clock: Clock) -> None:
    key, secret = keys.create("a", project="blue", role="viewer")
    first = clock.now
    keys.known(secret)
    assert keys.get(key.id).used == first
    clock.now += USED_EVERY - 1
    keys.known(secret)
    assert keys.get("a").used == first
    clock.now += 1
    keys.known(secret)
    assert keys.get("a").used == clock.now


def test_a_use_on_a_node_counts_and_never_goes_backwards(
    keys: Keys, clock: Clock, database: Database
) -> None:
    key, secret = keys.create("a", project="blue", role="caller")
    other, _ = keys.create("b", project="blue", role="caller")
    client, first = digest_of(secret)[:16], clock.now + 5
    keys.note_uses({client: first, "0" * 16: first, "%": first})
    assert keys.get(key.id).used == first and keys.get(other.id).used is None
    keys.note_uses({client: first + USED_EVERY / 2})
    assert keys.get(key.id).used == first  # once a minute
    keys.note_uses({client: first + USED_EVERY + 1})
    assert keys.get(key.id).used == first + USED_EVERY + 1
    Keys(database, clock).note_uses(
        {client: first}
    )  # another control plane, of a node that was not called since
    assert keys.get(key.id).used == first + USED_EVERY + 1


def test_a_rotated_key_keeps_its_name_and_nothing_else_opens(keys: Keys, clock: Clock) -> None:
    former, old = keys.create("a", project="blue", role="operator", expires=clock.now + 10)
    made, new = keys.rotate("a", "blue", expires=clock.now + 99)
    assert keys.known(old) is None
    key = keys.known(new)
    assert key is not None and (key.name, key.role, key.expires) == ("a", "operator", clock.now + 99)
    assert made.id != former.id
    clock.now += 100
    with pytest.raises(Conflict, match="expired"):
        keys.rotate("a")
    keys.revoke("a")
    with pytest.raises(Conflict, match="revoked"):
        keys.rotate("a")


def test_a_key_of_another_project_is_not_found(keys: Keys, database: Database) -> None:
    Projects(database).create("red")
    key, _ = keys.create("a", project="blue", role="viewer")
    for named in (key.id, "a"):
        for do in (keys.get, keys.revoke, keys.rotate):
            with pytest.raises(NotFound):
                do(named, "red")
    assert keys.list("red") == []


def test_nodes_are_told_what_each_key_may_call(keys: Keys, registry: Registry, clock: Clock) -> None:
    for model, project in (("m", "blue"), ("n", None)):
        registry.versions.add(
            model, manifest(model), Analysis(format="onnx", adapter="onnx"), False, project=project
        )
        registry.endpoints.deploy(f"{model}-one", model, 1, DeploymentSettings(), None)
    registry.endpoints.deploy("m-two", "m", 1, DeploymentSettings(), None)
    secrets = {
        "viewer": keys.create("v", project="blue", role="viewer")[1],
        "operator": keys.create("o", project="blue", role="operator", expires=clock.now + 5)[1],
        "narrow": keys.create("c", project="blue", role="caller", endpoints=["m-two"])[1],
        "boss": keys.create("b", project=None, role="admin")[1],
        "gone": keys.create("g", project="blue", role="admin")[1],
    }
    generation = registry.endpoints.generation()
    keys.revoke("g")
    assert registry.endpoints.generation() > generation
    grants = {grant.digest: grant for grant in keys.grants()}
    told = {who: grants.get(digest_of(secret)) for who, secret in secrets.items()}
    seen = {who: grant and (grant.endpoints, grant.manages) for who, grant in told.items()}
    assert seen == {
        "viewer": (("m-one", "m-two"), False),
        "operator": (("m-one", "m-two"), True),
        "narrow": (("m-two",), False),
        "boss": (("m-one", "m-two", "n-one"), True),
        "gone": None,
    }
    assert told["operator"] is not None and told["operator"].expires == clock.now + 5


def test_who_comes_with_a_key(keys: Keys) -> None:
    boss = principal_of(keys.create("b", project=None, role="admin")[0])
    viewer = principal_of(keys.create("v", project="blue", role="viewer")[0])
    assert boss.installation and boss.sees("anything") and boss.into == "default"
    assert not viewer.installation and viewer.may("caller") and not viewer.may("operator")
    assert viewer.sees("blue") and not viewer.sees("default") and viewer.into == "blue"
