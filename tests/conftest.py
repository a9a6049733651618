"""What tests of several rooms start: a platform driven by its command line, ended whatever happens."""

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from modelyard.package.environment import Environments
from modelyard.store.database import Database
from support.clouds import Clouds
from support.postgres import PostgresServer
from support.shell import Shell

# A busy machine is no finding: neither how long an example takes nor how long it takes to be made.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without looking for garbage meanwhile, nor among all that was collected ever after: each worker has all tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path / "home")
    yield made
    if made.home.exists():
        try:
            made.run("down")
        finally:
            made.kill_all()


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    """Where environments of many packages are built once for all tests and all workers of a run. Whoever tests how
    they are built, or removes one, has a place of his own."""
    folder = tmp_path_factory.getbasetemp()
    run = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return Environments(run / "environments")


@pytest.fixture(scope="session")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clouds]:
    """The servers of buckets for all tests of this process that only use them."""
    with Clouds(tmp_path_factory.mktemp("clouds")) as servers:
        yield servers


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process that only use it; who hurts it starts one of his own."""
    with PostgresServer() as server:
        made = server.create()
        database = Database(made)
        database.migrate()
        database.close()
        server.migrated = made.rpartition("/")[2]
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where a fresh database is, for ``Database``: the test runs on both kinds."""
    if request.param == "sqlite":
        yield tmp_path / "modelyard.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create(server.migrated)
    yield url
    server.drop(url)
