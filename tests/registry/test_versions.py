"""Registering: all bytes there, understood, and a pickle only when it is trusted."""

import hashlib
import pickle

import pytest

from modelyard.core.errors import Conflict, InvalidInput, RejectedContent
from modelyard.core.manifest import FileEntry, Manifest, manifest_of
from modelyard.registry.versions import register
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.versions import Versions

FUNCTION = b"""
def predict(text: str) -> str:
    return text.upper()
"""


@pytest.fixture
def versions(database: Database) -> Versions:
    return Versions(database)


def _manifest(blobs: BlobStore, **files: bytes) -> Manifest:
    entries = [(name.replace("__", "."), blobs.put([data])) for name, data in files.items()]
    return manifest_of([FileEntry(path=name, size=put.size, sha256=put.sha256) for name, put in entries])


def _estimator() -> bytes:
    from sklearn.linear_model import LogisticRegression

    return pickle.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))


def test_a_function_becomes_a_version(blobs: BlobStore, versions: Versions) -> None:
    version, new = register(blobs, versions, "shout", _manifest(blobs, model__py=FUNCTION), trusted=False)
    assert (new, version.number, version.analysis.adapter) == (True, 1, "function")
    assert versions.get("shout", 1) == version


def test_the_same_files_again_are_the_same_version(blobs: BlobStore, versions: Versions) -> None:
    manifest = _manifest(blobs, model__py=FUNCTION)
    first, _ = register(blobs, versions, "shout", manifest, trusted=False)
    assert register(blobs, versions, "shout", manifest, trusted=False) == (first, False)


def test_bytes_that_have_not_come_are_named(blobs: BlobStore, versions: Versions) -> None:
    missing = FileEntry(path="model.py", size=1, sha256=hashlib.sha256(b"x").hexdigest())
    with pytest.raises(Conflict) as caught:
        register(blobs, versions, "shout", Manifest(files=(missing,)), trusted=False)
    assert caught.value.field == "model.py"
    assert versions.models() == []


def test_a_pickle_without_trust_is_refused_with_the_way_out(blobs: BlobStore, versions: Versions) -> None:
    manifest = _manifest(blobs, model__pkl=_estimator())
    with pytest.raises(RejectedContent, match=r"--trust-pickle") as caught:
        register(blobs, versions, "risky", manifest, trusted=False)
    assert "skops, ONNX or safetensors" in caught.value.message
    assert caught.value.field == "model.pkl"
    assert versions.models() == []


def test_a_trusted_pickle_becomes_a_trusted_version(blobs: BlobStore, versions: Versions) -> None:
    manifest = _manifest(blobs, model__pkl=_estimator())
    version, _ = register(blobs, versions, "risky", manifest, trusted=True)
    assert version.trusted


def test_rubbish_makes_no_version(blobs: BlobStore, versions: Versions) -> None:
    with pytest.raises(RejectedContent):
        register(blobs, versions, "rubbish", _manifest(blobs, notes__txt=b"hello"), trusted=True)
    assert versions.models() == []


def test_a_bad_name_is_refused_before_anything_is_read(blobs: BlobStore, versions: Versions) -> None:
    with pytest.raises(InvalidInput) as caught:
        register(blobs, versions, "No Name", _manifest(blobs, model__py=FUNCTION), trusted=False)
    assert caught.value.field == "model"
