"""What lies for long is read again: found, mended or named, on through restarts, and no faster than was said."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.core.manifest import Manifest
from modelyard.core.model import Analysis
from modelyard.store import scrubbing
from modelyard.store.audit import Audit
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.checking import Trouble
from modelyard.store.checks import Checks
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from modelyard.store.scrubbing import Pace, Scrub, Stopped
from modelyard.store.versions import Versions
from support import weights
from support.clouds import Clouds
from support.registry import Clock
from support.stores import bytes_of, put, spoil

pytestmark = pytest.mark.timeout(300)
MONTH = 30 * 24 * 3600.0
WHOLE = weights.tensors(1, rows=512)
BASE = {"a": weights.safetensors(WHOLE)}
TUNED = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}


def _unpaced(_: int) -> None:
    """As fast as it goes."""


class Yard:
    """A store, the versions that refer to it, and a clock; ``read`` are the bytes that were read again."""

    def __init__(self, blobs: BlobStore, database: Database, clock: Clock) -> None:
        assert blobs.pieces is not None
        self.blobs, self.pieces, self.clock = blobs, blobs.pieces, clock
        self.audit = Audit(database, clock)
        self.versions = Versions(database, clock)
        self.checks = Checks(database, self.versions, self.audit)
        self.read = 0

    def add(self, name: str, files: dict[str, bytes]) -> Manifest:
        manifest = put(self.blobs, files)
        self.versions.add(name, manifest, Analysis(format="safetensors", adapter="x"), False)
        return manifest

    def scrub(self, pace: Callable[[int], None] | None = None) -> dict[str, Trouble | None]:
        return Scrub(self.blobs, self.pieces, self.checks, pace=pace or self._count, now=self.clock).run(
            MONTH
        )

    def _count(self, count: int) -> None:
        self.read += count

    def pack_of(self, manifest: Manifest) -> str:
        row = self.pieces.blob(bytes.fromhex(manifest.files[0].sha256))
        assert row is not None
        return row.pack

    def told(self) -> list[tuple[str, str]]:
        return [
            (each.what, each.subject)
            for each in reversed(self.audit.list(50))
            if each.what.startswith("blob.")
        ]


@pytest.fixture(params=["disk", "bucket"])
def yard(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Database
) -> Yard:
    bucket = None
    if request.param == "bucket":
        clouds: Clouds = request.getfixturevalue("clouds")
        for name, value in clouds.at("s3").variables.items():
            monkeypatch.setenv(name, value)
        bucket = open_bucket(f"s3://yard/{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}")
    return Yard(BlobStore(tmp_path / "blobs", Pieces(database), bucket), database, Clock())


def test_what_came_or_was_read_lately_is_not_read_and_the_oldest_is_first(yard: Yard) -> None:
    first = yard.add("first", {"a": b"1", "b": b"2" * 300_000})
    yard.clock.now += 1000
    second = yard.add("second", {"a": b"3"})
    assert yard.scrub() == {} and yard.read == 0
    yard.clock.now += MONTH - 500
    assert yard.scrub() == dict.fromkeys((file.sha256 for file in first.files), None)
    assert yard.read == 300_001
    yard.clock.now += 1000
    assert set(yard.scrub()) == {file.sha256 for file in second.files}
    yard.clock.now += MONTH + 1
    assert list(yard.scrub())[-1] == second.files[0].sha256
    assert yard.told() == []


def test_what_is_damaged_is_mended_from_a_copy_and_told_once(yard: Yard) -> None:
    base, tuned = yard.add("base", BASE), yard.add("tuned", TUNED)
    yard.blobs.path(tuned.files[0].sha256)  # into the cache, where it is not yet
    spoil(yard.blobs, yard.pack_of(tuned), 5000)
    yard.clock.now += MONTH + 1
    found = yard.scrub()
    assert set(found) == {base.files[0].sha256, tuned.files[0].sha256}
    trouble = found[tuned.files[0].sha256]
    assert trouble is not None and trouble.kind == "damaged" and trouble.repaired
    assert yard.told() == [("blob.repaired", "tuned/1")]
    assert [each.trouble for each in yard.checks.list()] == [None, None]
    yard.blobs.cache.remove(tuned.files[0].sha256)
    assert bytes_of(yard.blobs, tuned) == TUNED
    yard.clock.now += MONTH + 1
    assert set(yard.scrub().values()) == {None}


def test_what_nobody_has_a_copy_of_is_named_until_it_is_right_again(yard: Yard) -> None:
    base, tuned = yard.add("base", BASE), yard.add("tuned", TUNED)
    for manifest in (base, tuned):
        yard.blobs.cache.remove(manifest.files[0].sha256)
    spoil(yard.blobs, yard.pack_of(tuned), 5000)
    for _ in range(2):
        yard.clock.now += MONTH + 1
        trouble = yard.scrub()[tuned.files[0].sha256]
        assert trouble is not None and not trouble.repaired
        assert yard.told() == [("blob.damaged", "tuned/1")]
        (told,) = [each for each in yard.checks.list() if each.trouble is not None]
        assert told.sha256 == tuned.files[0].sha256 and told.trouble == trouble
    (entry,) = [each for each in yard.audit.list(50) if each.what == "blob.damaged"]
    assert entry.why.startswith("1/a: ") and tuned.files[0].sha256 in entry.why
    spoil(yard.blobs, yard.pack_of(tuned), 5000)
    yard.clock.now += MONTH + 1
    yard.scrub()
    assert yard.told()[-1] == ("blob.repaired", "tuned/1")
    assert [each.trouble for each in yard.checks.list()] == [None, None]


@pytest.mark.parametrize("yard", ["bucket"], indirect=True)
def test_what_one_control_plane_found_another_mends_that_has_a_copy(
    yard: Yard, tmp_path: Path, database: Database
) -> None:
    base = yard.add("base", BASE)
    elsewhere = BlobStore(tmp_path / "elsewhere", Pieces(database), yard.blobs.place)
    other = Yard(elsewhere, database, yard.clock)
    spoil(yard.blobs, yard.pack_of(base), 5000)
    yard.clock.now += MONTH + 1
    trouble = other.scrub()[base.files[0].sha256]
    assert trouble is not None and not trouble.repaired
    assert Scrub(elsewhere, other.pieces, other.checks, pace=_unpaced, now=yard.clock).mend() == {}
    mended = Scrub(yard.blobs, yard.pieces, yard.checks, pace=_unpaced, now=yard.clock).mend()
    assert list(mended) == [base.files[0].sha256]
    assert yard.told() == [("blob.damaged", "base/1"), ("blob.repaired", "base/1")]
    assert yard.checks.wrong() == []
    assert bytes_of(elsewhere, base) == BASE


def test_what_is_gone_is_named(yard: Yard) -> None:
    gone, small = yard.add("base", BASE), yard.add("small", {"s": b"small"})
    yard.blobs.place.delete(yard.pack_of(gone))
    yard.blobs.cache.remove(gone.files[0].sha256)
    yard.clock.now += MONTH + 1
    trouble = yard.scrub()[gone.files[0].sha256]
    assert trouble is not None and (trouble.kind, trouble.repaired) == ("missing", False)
    assert yard.told() == [("blob.missing", "base/1")]
    yard.versions.delete_model("base")
    assert yard.checks.forget() == 1
    assert [each.sha256 for each in yard.checks.list()] == [small.files[0].sha256]


def test_whoever_is_killed_goes_on_where_it_was(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "_NOTED", 1)
    files = {str(number): b"%d" % number * 100_000 for number in range(6)}
    yard.add("m", files)
    yard.clock.now += MONTH + 1
    order = yard.checks.due(yard.clock.now, 10)
    read: list[int] = []

    class Killed(BaseException):
        pass

    def killed(count: int) -> None:
        read.append(count)
        if len(read) == 4:
            # From here on nothing of it is written any more.
            patch.setattr(yard.checks, "note", lambda found, now: None)
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        yard.scrub(killed)
    assert list(yard.scrub()) == order[3:]
    assert yard.read == 3 * 100_000
    assert yard.scrub() == {}


def test_whoever_is_stopped_in_a_blob_notes_those_before_it(yard: Yard) -> None:
    yard.add("m", {str(number): b"%d" % number * 1000 for number in range(4)})
    yard.clock.now += MONTH + 1
    order = yard.checks.due(yard.clock.now, 10)
    left = [2]

    def stop(_: float) -> bool:
        left[0] -= 1
        return left[0] < 0

    with pytest.raises(Stopped):
        yard.scrub(Pace(1.0, stop))
    assert list(yard.scrub()) == order[2:]


def test_the_rate_is_held_while_blobs_of_all_kinds_are_read(yard: Yard) -> None:
    yard.add("base", BASE | {"s": b"small", "noise": weights.safetensors(weights.tensors(9, rows=2048))})
    yard.add("tuned", TUNED)
    yard.clock.now += MONTH + 1
    began, rate = yard.clock.now, 100_000.0
    seen: list[tuple[float, int]] = []

    def wait(seconds: float) -> bool:
        yard.clock.now += seconds
        return False

    pace = Pace(rate, wait, yard.clock)

    def read(count: int) -> None:
        seen.append((yard.clock.now, count))
        pace(count)

    yard.scrub(read)
    total = 0
    for when, count in seen:
        assert total <= rate * (when - began) + 1e-3
        total += count
    assert total > 10_000_000
    assert yard.clock.now - began >= total / rate - 1e-3


def test_who_has_rested_is_not_faster_afterwards() -> None:
    clock, waits = Clock(), []
    pace = Pace(10.0, lambda seconds: bool(waits.append(seconds)), clock)
    clock.now += 1000
    pace(100)
    assert waits == [10.0]
