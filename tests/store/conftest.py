"""A migrated database and an empty blob store, each of its own test."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from support.postgres import PostgresServer
from support.registry import Clock, Registry


@pytest.fixture
def database(place: Path | str) -> Iterator[Database]:
    database = Database(place)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def shared(postgres: PostgresServer) -> Iterator[Database]:
    """A database of the server's, which others may share."""
    url = postgres.create(postgres.migrated)
    database = Database(url)
    yield database
    database.close()
    postgres.drop(url)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB, to be filled; mounting one needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(database: Database, clock: Clock) -> Registry:
    return Registry(database, clock)
