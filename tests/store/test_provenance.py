"""Where a version came from: each source once, with its first and last time."""

import itertools

import pytest
from sqlalchemy import func, select

from modelyard.core.errors import NotFound
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.core.provenance import Arrival, Source
from modelyard.store import tables
from modelyard.store.database import Database
from modelyard.store.signatures import Signatures
from modelyard.store.versions import Versions

ANALYSIS = Analysis(format="onnx", adapter="onnx")
MANIFEST = Manifest(files=(FileEntry(path="m.onnx", size=1, sha256="a" * 64),))
PATH = Arrival(source=Source(kind="path", name="m.onnx"), uploader="key", user="a@b", client="modelyard 1")
HUB = Arrival(source=Source(kind="hub", name="o/n", revision="c0ffee"), uploader="key")


@pytest.fixture
def versions(database: Database) -> Versions:
    times = itertools.count(1.0)
    return Versions(database, clock=lambda: next(times))


def test_the_same_bytes_from_a_second_source_have_both(versions: Versions) -> None:
    versions.add("m", MANIFEST, ANALYSIS, False, arrival=PATH)
    again, new = versions.add("m", MANIFEST, ANALYSIS, False, arrival=HUB)
    assert not new
    found = versions.provenance("m", again.number)
    assert [each.source.kind for each in found] == ["path", "hub"]
    assert {each.digest for each in found} == {MANIFEST.digest}
    assert (found[0].user, found[0].client, found[1].user) == ("a@b", "modelyard 1", "")


def test_the_same_source_again_is_one_with_a_later_time(versions: Versions) -> None:
    versions.add("m", MANIFEST, ANALYSIS, False, arrival=PATH)
    first = versions.provenance("m", 1)
    versions.add("m", MANIFEST, ANALYSIS, False, arrival=PATH)
    versions.arrived("m", 1, PATH)
    (found,) = versions.provenance("m", 1)
    assert found.first == first[0].first
    assert found.last > first[0].last


def test_another_uploader_is_another_provenance(versions: Versions) -> None:
    for user in ("a", "b"):
        versions.add("m", MANIFEST, ANALYSIS, False, arrival=Arrival(source=PATH.source, user=user))
    assert [each.user for each in versions.provenance("m", 1)] == ["a", "b"]


def test_it_goes_with_its_model(versions: Versions, database: Database) -> None:
    versions.add("m", MANIFEST, ANALYSIS, False, arrival=PATH)
    Signatures(database).add("m", 1, "{}")
    versions.delete_model("m")
    with database.session() as session:
        for table in (tables.provenance, tables.signatures):
            assert session.execute(select(func.count()).select_from(table)).scalar() == 0


def test_what_is_not_there_is_not_found(versions: Versions, database: Database) -> None:
    for call in (
        lambda: versions.provenance("m", 1),
        lambda: versions.arrived("m", 1, PATH),
        lambda: Signatures(database).list("m", 1),
        lambda: Signatures(database).add("m", 1, "{}"),
    ):
        with pytest.raises(NotFound):
            call()


def test_measured_memory_is_the_most_that_was_seen(versions: Versions) -> None:
    versions.add("m", MANIFEST, ANALYSIS, False)
    for memory, kept in ((100, 100), (80, 100), (120, 120)):
        versions.learn("m", 1, None, memory)
        assert versions.get("m", 1).analysis.memory_measured == kept
