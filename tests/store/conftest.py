"""A migrated database and an empty blob store, each of its own test."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from support.clouds import Clouds, CloudServer
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
def pieces(database: Database) -> Pieces:
    return Pieces(database)


@pytest.fixture
def scheme() -> str:
    """Of the tests' bucket."""
    return "s3"


@pytest.fixture
def server(scheme: str, clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> CloudServer:
    """The server of the bucket, which the variables of this process name."""
    running = clouds.at(scheme)
    for name, value in running.variables.items():
        monkeypatch.setenv(name, value)
    return running


@pytest.fixture
def address(scheme: str, server: CloudServer, tmp_path: Path) -> str:
    """A place in the bucket, of its own test."""
    return f"{scheme}://yard/{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"


@pytest.fixture
def in_bucket(address: str, tmp_path: Path, pieces: Pieces) -> BlobStore:
    """The blobs of one control plane, in the bucket."""
    return BlobStore(tmp_path / "one", pieces, open_bucket(address))


@pytest.fixture
def other(address: str, tmp_path: Path, pieces: Pieces) -> BlobStore:
    """Another control plane: the same rows, the same bucket, a home of its own."""
    return BlobStore(tmp_path / "two", pieces, open_bucket(address))


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
