"""A migrated database and an empty blob store, each of its own test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "modelyard.db")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")
