"""A migrated database and an empty blob store, each of its own test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database


@pytest.fixture
def database(place: Path | str) -> Iterator[Database]:
    database = Database(place)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")
