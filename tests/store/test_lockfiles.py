"""Lockfiles: kept with the deployments that need them, and no longer."""

from modelyard.core.deployment import DeploymentSettings
from modelyard.core.lockfile import Lockfile
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.store.database import Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.lockfiles import Lockfiles
from modelyard.store.versions import Versions


def lockfile(environment: str, lock: str = "numpy==2.1.0\n") -> Lockfile:
    return Lockfile(
        environment=environment, requirements=("numpy",), lock=lock, interpreter="CPython 3.11.2 linux-x86_64",
        torch_arguments=("--torch-backend", "cpu"),
    )  # fmt: skip


def test_what_is_kept_comes_back_and_twice_is_once(database: Database) -> None:
    lockfiles = Lockfiles(database)
    assert lockfiles.get("one") is None
    for _ in range(2):
        lockfiles.keep(lockfile("one"))
    assert lockfiles.get("one") == lockfile("one")
    assert lockfiles.get("two") is None


def test_one_that_no_deployment_needs_is_forgotten_after_a_day(database: Database) -> None:
    now = 1000.0
    lockfiles = Lockfiles(database, clock=lambda: now)
    manifest = Manifest(files=(FileEntry(path="model.onnx", size=1, sha256="a" * 64),))
    Versions(database).add("m", manifest, Analysis(format="onnx", adapter="onnx"), False)
    Endpoints(database).deploy("e", "m", 1, DeploymentSettings(), "used")
    Endpoints(database).deploy("e", "m", 1, DeploymentSettings(replicas=2), None)
    for name in ("used", "unused", "asked for again"):
        lockfiles.keep(lockfile(name))
    now += 23 * 3600
    assert lockfiles.forget() == 0
    lockfiles.keep(lockfile("asked for again"))
    now += 2 * 3600
    assert lockfiles.forget() == 1
    assert lockfiles.get("unused") is None
    assert lockfiles.get("used") is not None and lockfiles.get("asked for again") is not None
    Endpoints(database).delete("e")
    assert lockfiles.forget() == 1
    assert lockfiles.get("used") is None
