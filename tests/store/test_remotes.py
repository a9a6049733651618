"""Remotes: one row a name, and never one that no node would take."""

import msgspec
import pytest
from sqlalchemy import update

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.remotes import MAX_REMOTES, RemoteRoute
from modelyard.core.routes import Remote, RetryOptions
from modelyard.store import tables
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.nouns import pack
from modelyard.store.remotes import Remotes

FAR = Remote(url="http://far:8701", model="m")


def test_one_is_added_changed_and_taken_away(database: Database) -> None:
    remotes, endpoints = Remotes(database), Endpoints(database)
    before = endpoints.generation()
    other = Remote(url="https://other", model="m", kind="openai", key_variable="THE_KEY")
    remotes.add("e", FAR)
    remotes.add("e", other)
    remotes.add("e", Remote(url=FAR.url, model="m", weight=3))
    assert [each.weight for each in remotes.get("e").remotes] == [1, 3]
    assert endpoints.generation() == before + 3
    remotes.remove("e", FAR.url)
    assert remotes.get("e").remotes == (other,)
    remotes.remove("e", other.url, "m")
    with pytest.raises(NotFound):
        remotes.get("e")
    assert [entry.what for entry in Audit(database).list(10)] == [
        "remotes.delete", "remotes.set", "remotes.set", "remotes.set", "remotes.set",
    ]  # fmt: skip


def test_one_address_written_in_two_ways_is_one_remote(database: Database) -> None:
    remotes = Remotes(database)
    remotes.add("e", Remote(url="http://Far:80/", model="m"))
    assert remotes.add("e", Remote(url="HTTP://far", model="m", weight=2)).remotes == (
        Remote(url="http://far", model="m", weight=2),
    )
    with pytest.raises(InvalidInput, match="twice"):
        remotes.put(RemoteRoute(endpoint="f", remotes=(FAR, Remote(url=FAR.url + "/", model="m"))))
    remotes.remove("e", "http://FAR/")
    assert remotes.list() == []


def test_what_was_stored_as_it_was_written_is_found_by_its_address(database: Database) -> None:
    """Versions before 2026-11-29 did not write addresses in one way."""
    remotes = Remotes(database)
    remotes.add("e", FAR)
    old = msgspec.structs.replace(remotes.get("e"), remotes=(Remote(url=FAR.url + "/", model="m"),))
    with database.begin() as session:
        session.execute(update(tables.remotes).values(route_json=pack(old)))
    assert remotes.add("e", Remote(url=FAR.url, model="m", weight=2)).remotes[0].weight == 2
    assert len(remotes.get("e").remotes) == 1
    with database.begin() as session:
        session.execute(update(tables.remotes).values(route_json=pack(old)))
    remotes.remove("e", FAR.url + "/")
    assert remotes.list() == []


def test_an_endpoint_of_remotes_alone_is_deleted_like_any(database: Database) -> None:
    remotes, endpoints = Remotes(database), Endpoints(database)
    remotes.add("e", FAR)
    endpoints.delete("e")
    assert remotes.list() == []
    with pytest.raises(NotFound):
        endpoints.delete("e")


def test_the_same_again_changes_nothing(database: Database) -> None:
    remotes, endpoints = Remotes(database), Endpoints(database)
    route = RemoteRoute(endpoint="e", remotes=(FAR,), weight=0.5, retry=RetryOptions(hedge=0.1))
    remotes.put(route)
    generation = endpoints.generation()
    remotes.put(route)
    assert endpoints.generation() == generation
    assert remotes.list() == [route]


def test_what_is_not_there_is_not_taken_away(database: Database) -> None:
    remotes = Remotes(database)
    for act in (lambda: remotes.delete("e"), lambda: remotes.remove("e", FAR.url)):
        with pytest.raises(NotFound):
            act()
    remotes.add("e", FAR)
    for url, model in (("http://elsewhere", None), (FAR.url, "another")):
        with pytest.raises(NotFound):
            remotes.remove("e", url, model)
    assert remotes.get("e").remotes == (FAR,)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"remotes": ()}, "remotes"),
        ({"remotes": (FAR,) * 2}, "remotes[1].url"),
        ({"remotes": tuple(Remote(url=f"http://h{n}", model="m") for n in range(MAX_REMOTES + 1))}, "remotes"),
        ({"remotes": (Remote(url="ftp://x", model="m"),)}, "remotes[0].url"),
        ({"remotes": (Remote(url="http://me:secret@x", model="m"),)}, "remotes[0].url"),
        ({"remotes": (Remote(url="ftp://me:secret@x", model="m"),)}, "remotes[0].url"),
        ({"remotes": (Remote(url="http://me:secret@x:99999", model="m"),)}, "remotes[0].url"),
        ({"remotes": (Remote(url="http://me:secret@[x", model="m"),)}, "remotes[0].url"),
        ({"remotes": (Remote(url="me:secret@x", model="m"),)}, "remotes[0].url"),
        ({"remotes": (Remote(url="http://x?key=secret\x7f", model="m"),)}, "remotes[0].url"),
        ({"remotes": (Remote(url="http://x", model=""),)}, "remotes[0].model"),
        ({"remotes": (Remote(url="http://x", model="m", key_variable="sk-123"),)}, "remotes[0].key_variable"),
        ({"remotes": (Remote(url="http://x", model="m", weight=0),)}, "remotes"),
        ({"remotes": (Remote(url="http://x", model="m", weight=float("nan")),)}, "remotes"),
        ({"weight": -1.0}, "weight"),
        ({"retry": RetryOptions(attempts=0)}, "retry"),
        ({"retry": RetryOptions(hedge=float("inf"))}, "retry.hedge"),
        ({"endpoint": "../e"}, "endpoint"),
    ],
)  # fmt: skip
def test_what_no_node_would_take_is_refused(database: Database, changes: dict, field: str) -> None:
    remotes = Remotes(database)
    with pytest.raises(InvalidInput) as refused:
        remotes.put(RemoteRoute(**{"endpoint": "e", "remotes": (FAR,)} | changes))
    assert refused.value.field == field
    assert "secret" not in refused.value.message
    assert remotes.list() == []
