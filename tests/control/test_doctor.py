"""What a crash may leave in a home, found and put right."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.control import doctor
from modelyard.control.platform import Platform
from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Conflict
from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.core.model import Analysis
from modelyard.core.settings import Home, Settings
from modelyard.host.lock import ProgramLock
from support.node import wait_until
from support.postgres import PASSWORD, PostgresServer


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A home with one version that one endpoint wants; nothing runs."""
    platform = furnished(Settings(home=str(tmp_path / "home")))
    yield platform
    platform.database.close()


def furnished(settings: Settings) -> Platform:
    platform = Platform(settings)
    digest = platform.blobs.put([b"weights"])
    manifest = manifest_of([FileEntry(path="model.onnx", size=7, sha256=digest.sha256)])
    version, _ = platform.versions.add("m", manifest, Analysis(format="onnx", adapter="onnx"), False)
    platform.blobs.lay_out(manifest, platform.version_folder(version.digest))
    environment = platform.environments.ensure([])
    platform.endpoints.deploy("e", "m", 1, DeploymentSettings(), environment.id)
    return platform


def kinds(home: Home, **options: bool) -> list[str]:
    return [finding.kind for finding in doctor.examine(home, **options)]


def test_a_home_in_order_has_no_findings(platform: Platform) -> None:
    assert doctor.examine(platform.home, thorough=True) == []


def test_a_home_that_was_never_used_has_no_findings(tmp_path: Path) -> None:
    assert doctor.examine(Home(tmp_path)) == []


def test_an_orphan_blob_is_found_and_removed_and_the_others_stay(platform: Platform) -> None:
    orphan = platform.blobs.put([b"nobody wants me"]).sha256
    assert kinds(platform.home) == ["orphan_blob"]
    assert [finding.subject for finding in doctor.repair(platform.home)] == [orphan]
    assert kinds(platform.home, thorough=True) == []


def test_a_blob_that_an_upload_waits_for_is_no_orphan(platform: Platform) -> None:
    platform.blobs.put([b"half way"])
    entry = FileEntry(path="a", size=8, sha256=hashlib.sha256(b"half way").hexdigest())
    platform.uploads.create([entry])
    assert kinds(platform.home) == []


def test_a_version_whose_bytes_are_gone_is_told_and_cannot_be_repaired(platform: Platform) -> None:
    file = platform.versions.get("m", 1).manifest.files[0]
    platform.blobs.delete(file.sha256)
    (finding,) = doctor.examine(platform.home)
    assert (finding.kind, finding.subject, finding.repairable) == ("missing_blob", "m/1/model.onnx", False)


def test_bytes_that_have_changed_are_found_when_it_looks_thoroughly(platform: Platform) -> None:
    file = platform.versions.get("m", 1).manifest.files[0]
    path = next(platform.home.blobs.rglob(file.sha256))
    path.chmod(0o644)
    path.write_bytes(b"WEIGHTS")
    assert kinds(platform.home) == []
    assert kinds(platform.home, thorough=True) == ["corrupt_blob"]


def test_half_written_folders_are_found_and_removed(platform: Platform) -> None:
    (platform.home.versions / ".laying-abc").mkdir()
    (platform.home.versions / ".removed-abc").mkdir()
    (platform.home.environments / ".building-abc").mkdir()
    (platform.home.blobs / "incoming" / "abc").mkdir(parents=True)
    assert sorted(kinds(platform.home)) == ["leftover"] * 4
    doctor.repair(platform.home)
    assert kinds(platform.home) == []


def test_a_job_that_nobody_runs_is_told(platform: Platform) -> None:
    platform.jobs.create("deploy", "e", ("register",), {})
    assert kinds(platform.home) == ["abandoned_job"]


def test_an_environment_that_is_gone_is_told(platform: Platform) -> None:
    platform.environments.delete(platform.environments.list()[0].id)
    assert kinds(platform.home) == ["missing_environment"]


def test_the_address_of_a_dead_node_is_found_and_removed(platform: Platform) -> None:
    platform.home.address("node").write_text("http://127.0.0.1:1")
    assert kinds(platform.home) == ["stale_address"]
    doctor.repair(platform.home)
    assert kinds(platform.home) == []


def test_an_executor_without_a_node_is_found_and_ended(platform: Platform) -> None:
    place = platform.home.run / "tmp" / "replica"
    place.mkdir(parents=True)
    command = [sys.executable, "-c", "import time; time.sleep(600)", "modelyard_executor"]
    with subprocess.Popen(command, cwd=place) as process:
        # A process that has just been started does not tell its command line yet.
        (finding,) = wait_until(lambda: doctor.examine(platform.home), what="the finding")
        assert (finding.kind, finding.subject) == ("orphan_executor", str(process.pid))
        doctor.repair(platform.home)
        assert process.wait(60) < 0


def test_a_damaged_database_is_told(platform: Platform) -> None:
    platform.database.close()
    with platform.home.database.open("r+b") as file:
        file.write(b"rubbish" * 1000)
    for extra in ("-wal", "-shm"):
        Path(f"{platform.home.database}{extra}").unlink(missing_ok=True)
    assert kinds(platform.home) == ["broken_database"]


def test_it_does_not_repair_under_a_running_control_plane(platform: Platform) -> None:
    lock = ProgramLock(platform.home.run, "control")
    lock.acquire()
    try:
        with pytest.raises(Conflict, match=str(os.getpid())):
            doctor.repair(platform.home)
    finally:
        lock.release()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[tuple[PostgresServer, Platform]]:
    """The same with a database that others may share, as a server is by default."""
    with PostgresServer(durable=True) as server:
        platform = furnished(Settings(home=str(tmp_path / "home"), database=server.create()))
        yield server, platform
        platform.database.close()


def test_a_shared_database_of_an_older_version_is_told_and_left_as_it_is(
    shared: tuple[PostgresServer, Platform],
) -> None:
    _, platform = shared
    url = platform.settings.database
    assert url is not None
    with platform.database.begin() as session:
        session.exec_driver_sql("UPDATE alembic_version SET version_num = '0008'")
        session.exec_driver_sql("DROP TABLE whereabouts")
        session.exec_driver_sql("DROP TABLE blob_checks")
        session.exec_driver_sql("DROP TABLE lockfiles")
        session.exec_driver_sql("DROP TABLE figures")
        session.exec_driver_sql("DROP TABLE version_metrics")
    (finding,) = doctor.examine(platform.home, database=url)
    assert finding.kind == "unfit_database" and "modelyard up" in finding.message
    assert platform.database.revision() == "0008"
    platform.database.migrate()
    assert doctor.examine(platform.home, database=url) == []


def test_a_shared_database_is_examined_too(shared: tuple[PostgresServer, Platform], tmp_path: Path) -> None:
    _, platform = shared
    home, url = platform.home, platform.settings.database
    assert url is not None
    assert doctor.examine(home, database=url, thorough=True) == []
    orphan = platform.blobs.put([b"nobody wants me"]).sha256
    platform.jobs.create("deploy", "e", ("register",), {})
    found = doctor.examine(home, database=url)
    assert {each.kind: each.subject for each in found}["orphan_blob"] == orphan
    assert [each.kind for each in found] == ["orphan_blob", "abandoned_job"]
    assert [each.kind for each in doctor.repair(home, database=url)] == ["orphan_blob"]
    # What another home has is its own matter.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "blobs").symlink_to(home.blobs)
    other = Platform(Settings(home=str(tmp_path / "other"), database=url))
    other.jobs.create("deploy", "o", ("register",), {})
    other.endpoints.deploy("o", "m", 1, DeploymentSettings(), "gone")
    assert [each.kind for each in doctor.examine(home, database=url)] == ["abandoned_job"]
    # But that it is gone while it serves something concerns all.
    assert other.id is not None
    other.homes.tell(other.id, "far", None, None)
    with other.database.begin() as session:
        session.exec_driver_sql("UPDATE homes SET seen = seen - 4000")
    other.database.close()
    (finding,) = [each for each in doctor.examine(home, database=url) if each.kind == "gone_home"]
    assert "far" in finding.message and "o is served there" in finding.message


def test_a_shared_database_that_is_not_as_it_should_be_is_told(
    shared: tuple[PostgresServer, Platform],
) -> None:
    server, platform = shared
    home, url = platform.home, platform.settings.database
    for name, value, word in (
        ("synchronous_commit", "off", "may lose"),
        ("default_transaction_read_only", "on", "read-only"),
    ):
        server.set(name, value)
        server.disconnect(str(url))
        told = wait_until(lambda: doctor.examine(home, database=url), what="the finding")
        assert [each.kind for each in told] == ["unfit_database"] and word in told[0].message
        assert PASSWORD not in str(told)
        server.set(name, None)
    server.stop()
    (finding,) = doctor.examine(home, database=url)
    assert finding.kind == "unreachable_database" and PASSWORD not in str(finding)
    server.start()
