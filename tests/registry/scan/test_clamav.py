"""ClamAV, the real daemon: what it finds is malicious, and while it is away nothing passes that needs its word."""

import zipfile
from collections.abc import Iterator

import pytest

from modelyard.core.errors import RejectedContent, Unavailable
from modelyard.core.manifest import FileEntry, Manifest, manifest_of
from modelyard.registry.quarantine import recheck, require_safe
from modelyard.registry.scan.clamav import ClamAV
from modelyard.registry.scan.safety import Safety, ScannerAway
from modelyard.registry.versions import register
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.verdicts import Verdicts
from modelyard.store.versions import Versions
from support.attacks.containers import seven, tarred, zipped
from support.attacks.viruses import EICAR
from support.clamd import Clamd

MODEL = b"def predict(text: str) -> str:\n    return text.upper()\n"


@pytest.fixture
def clamd() -> Iterator[Clamd]:
    made = Clamd().start()
    yield made
    made.remove()


def _look(clamd: Clamd, data: bytes) -> list[str]:
    found = ClamAV(clamd.address).look(len(data), lambda at, length: data[at : at + length])
    return [f"{each.level} {each.reaches}" for each in found]


def _manifest(blobs: BlobStore, **files: bytes) -> Manifest:
    entries = [(name.replace("__", "."), blobs.put([data])) for name, data in files.items()]
    return manifest_of([FileEntry(path=name, size=put.size, sha256=put.sha256) for name, put in entries])


def test_eicar_is_found_in_every_container_that_it_opens(clamd: Clamd) -> None:
    import bz2
    import gzip

    malicious = ["malicious Eicar-Test.UNOFFICIAL"]
    for data in (
        EICAR,
        zipped({"a": EICAR}),
        zipped({"a": EICAR}, zipfile.ZIP_STORED),
        tarred({"a": EICAR}),
        gzip.compress(EICAR),
        bz2.compress(EICAR),
        gzip.compress(tarred({"a": EICAR})),
        zipped({"a.zip": zipped({"b": EICAR})}),
        seven({"a": EICAR}),
        bytes(3_000_000) + EICAR,
    ):
        assert _look(clamd, data) == malicious
    assert _look(clamd, MODEL) == _look(clamd, b"") == _look(clamd, bytes(5_000_000)) == []


def test_a_file_over_its_limit_is_unreadable(clamd: Clamd) -> None:
    (found,) = ClamAV(clamd.address).look(30_000_000, lambda _, length: bytes(length))
    assert found.level == "unreadable" and "StreamMaxLength" in found.what


def test_its_version_tells_its_signatures(clamd: Clamd) -> None:
    assert ClamAV(clamd.address).version().startswith("ClamAV ")


def test_a_daemon_that_is_away_is_told_with_what_to_do() -> None:
    for address in ("unix:/nonexistent/clamd.sock", "tcp:127.0.0.1:1"):
        with pytest.raises(Unavailable, match="start it"):
            ClamAV(address).version()


def test_while_it_is_required_and_away_nothing_passes(
    database: Database, blobs: BlobStore, clamd: Clamd
) -> None:
    versions = Versions(database)
    safety = Safety(blobs, Verdicts(database), clamav=clamd.address, required=True)
    clamd.stop()
    manifest = _manifest(blobs, model__py=MODEL)
    with pytest.raises(ScannerAway, match="files wait"):
        register(blobs, versions, "shout", manifest, trusted=True, safety=safety)
    assert versions.models() == []
    clamd.start()
    version, _ = register(blobs, versions, "shout", manifest, trusted=False, safety=safety)
    assert {each.scanner for each in safety.seen(version).files[0].verdicts} == {"clamav", "modelyard"}


def test_while_it_is_not_required_its_absence_is_told(
    database: Database, blobs: BlobStore, clamd: Clamd
) -> None:
    clamd.stop()
    safety = Safety(blobs, Verdicts(database), clamav=clamd.address)
    version, _ = register(
        blobs, Versions(database), "shout", _manifest(blobs, model__py=MODEL), trusted=False, safety=safety
    )
    assert "does not answer" in safety.scan(version).absent["clamav"]


def test_what_it_finds_is_refused(database: Database, blobs: BlobStore, clamd: Clamd) -> None:
    clamd.sign("own.ndb", "Own-Test:0:*:" + b"a very secret signature".hex())
    clamd.stop()
    clamd.start()
    safety = Safety(blobs, Verdicts(database), clamav=clamd.address)
    manifest = _manifest(blobs, model__py=MODEL, notes__txt=b"it has a very secret signature inside")
    with pytest.raises(RejectedContent, match=r"Own-Test\.UNOFFICIAL") as caught:
        register(blobs, Versions(database), "shout", manifest, trusted=True, safety=safety)
    assert caught.value.field == "notes.txt"


def test_new_signatures_find_what_old_ones_did_not(
    database: Database, blobs: BlobStore, clamd: Clamd
) -> None:
    versions = Versions(database)
    safety = Safety(blobs, Verdicts(database), clamav=clamd.address)
    register(blobs, versions, "bad", _manifest(blobs, model__py=MODEL), trusted=False, safety=safety)
    other = MODEL.replace(b"upper", b"lower")
    register(blobs, versions, "good", _manifest(blobs, model__py=other), trusted=False, safety=safety)
    assert recheck(safety, versions) == 0
    clamd.sign("own.ndb", "Own-Test:0:*:" + b"text.upper()".hex())
    clamd.stop()
    clamd.start()
    assert safety.scan(versions.get("bad", 1), again=True).verdict == "malicious"
    assert recheck(safety, versions) == 1
    bad, good = versions.get("bad", 1), versions.get("good", 1)
    assert good.quarantine is None
    assert bad.quarantine is not None and "Own-Test" in bad.quarantine
    with pytest.raises(RejectedContent, match="in quarantine"):
        require_safe(safety, versions, bad)
    (clamd.folder / "signatures" / "own.ndb").unlink()  # it was a false alarm
    clamd.stop()
    clamd.start()
    safety.scan(bad, again=True)
    assert recheck(safety, versions) == 1
    assert versions.get("bad", 1).quarantine is None
