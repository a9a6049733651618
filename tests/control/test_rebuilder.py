"""Environments that deployments have and the machine has not are built again, as they were where that can be."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from modelyard.control.endpoints import describe
from modelyard.control.platform import Platform
from modelyard.control.rebuilder import Rebuilder
from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Unavailable
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.core.settings import Settings


@pytest.fixture
def platform(settings: Settings) -> Iterator[Platform]:
    """Its loops do not run: a turn is a turn."""
    platform = Platform(settings)
    yield platform
    platform.stop()


def deploy(platform: Platform, endpoint: str, environment: str, *requirements: str) -> str:
    """The deployment of a version that asks for these, in an environment that it was given once."""
    entry = FileEntry(path="model.onnx", size=1, sha256=endpoint[0].encode().hex().rjust(64, "0"))
    analysis = Analysis(format="onnx", adapter="onnx", requirements=requirements)
    version, _ = platform.versions.add(endpoint, Manifest(files=(entry,)), analysis, False)
    made = platform.endpoints.deploy(endpoint, endpoint, version.number, DeploymentSettings(), environment)
    platform.endpoints.serve(endpoint, made.id)
    return made.id


def environment_of(platform: Platform, deployment: str) -> str:
    id = platform.endpoints.deployment(deployment).environment
    assert id is not None
    return id


def test_the_very_versions_are_built_again(platform: Platform) -> None:
    environment = platform.environments.ensure(["iniconfig==2.0.0"])
    deployment = deploy(platform, "e", environment.id, "iniconfig>=2")
    assert platform.rebuilder.turn() == 0  # nothing is missing; from now on the lockfile is known
    shutil.rmtree(platform.home.environments)
    assert platform.rebuilder.turn() == 1
    assert environment_of(platform, deployment) == environment.id
    assert platform.environments.get(environment.id).lock == "iniconfig==2.0.0\n"
    assert platform.rebuilder.told(deployment) is None
    assert platform.rebuilder.turn() == 0


def test_another_python_makes_another_environment_and_the_audit_says_so(platform: Platform) -> None:
    made = platform.environments.ensure(["iniconfig==2.0.0"])
    lockfile = platform.environments.lockfile(made.id)
    name, version, system = lockfile.interpreter.split(" ")
    patch = f"{version.rpartition('.')[0]}.99"
    other = msgspec.structs.replace(
        lockfile,
        environment="f" * 32,
        interpreter=f"{name} {patch} {system}",
        requirements=("iniconfig>=2",),
    )
    platform.lockfiles.keep(other)
    shutil.rmtree(platform.home.environments)
    deployments = [deploy(platform, each, "f" * 32, "iniconfig>=2") for each in ("e", "f")]
    before = platform.endpoints.generation()
    assert platform.rebuilder.turn() == 2
    assert {environment_of(platform, each) for each in deployments} == {made.id}
    assert platform.endpoints.generation() > before  # the node is told
    assert platform.lockfiles.get(made.id) is not None
    (entry, *_) = [
        each for each in platform.audit.list(10, about="e") if each.what == "deployment.environment"
    ]
    assert "the same versions on" in entry.why


@pytest.mark.parametrize("lock", [None, "iniconfig==99.0.0\n", "no lock at all"])
def test_versions_that_cannot_be_had_any_more_are_resolved_anew(
    platform: Platform, lock: str | None
) -> None:
    made = platform.environments.ensure([])
    if lock is not None:
        lockfile = platform.environments.lockfile(made.id)
        platform.lockfiles.keep(
            msgspec.structs.replace(
                lockfile, environment="f" * 32, requirements=("iniconfig>=2",), lock=lock
            )
        )
    deployment = deploy(platform, "e", "f" * 32, "iniconfig>=2")
    assert platform.rebuilder.turn() == 1
    assert platform.environments.get(environment_of(platform, deployment)).lock.startswith("iniconfig==2")
    (entry, *_) = [
        each for each in platform.audit.list(10, about="e") if each.what == "deployment.environment"
    ]
    assert "resolved to now" in entry.why and (lock is None or "iniconfig" in entry.why)
    told = describe(platform, "e").failure
    assert told is not None and "built again" in told and (lock is None or " → 2" in told)


def test_a_python_that_is_not_there_is_resolved_anew(platform: Platform) -> None:
    made = platform.environments.ensure([])
    lockfile = platform.environments.lockfile(made.id)
    for number, version in enumerate(("3.39.1", "3.2.1")):
        gone = msgspec.structs.replace(
            lockfile, environment=f"{number}" * 32, interpreter=f"CPython {version} linux-x86_64"
        )
        platform.lockfiles.keep(gone)
        deployment = deploy(platform, "ef"[number], f"{number}" * 32)
        assert platform.rebuilder.turn() == 1
        assert environment_of(platform, deployment) == made.id


def test_what_cannot_be_built_is_told_and_left_and_the_others_are_built(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deploy(platform, "e", "f" * 32, "modelyard-no-such-package")
    other = deploy(platform, "f", "e" * 32)
    assert platform.rebuilder.turn() == 1
    assert environment_of(platform, other) != "e" * 32
    told = describe(platform, "e").failure
    assert told is not None
    assert "not on this machine" in told and "modelyard-no-such-package" in told and "in an hour" in told
    monkeypatch.setattr(platform.environments, "ensure", lambda *_, **__: pytest.fail("it was tried again"))
    assert platform.rebuilder.turn() == 0  # what cannot be fulfilled is not resolved again each minute
    assert describe(platform, "e").failure == told
    platform.endpoints.delete("e")
    platform.rebuilder.turn()
    assert platform.rebuilder.told(deployment) is None


def test_an_index_that_is_away_is_asked_again_soon(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deploy(platform, "e", "f" * 32)

    def away(*_: object, **__: object) -> None:
        raise Unavailable("The index is away.", retry_after=1.0)

    with monkeypatch.context() as patched:
        patched.setattr(platform.environments, "ensure", away)
        assert platform.rebuilder.turn() == 0
    assert "The index is away. It is tried again within a minute." in (
        platform.rebuilder.told(deployment) or ""
    )
    monkeypatch.setattr(Rebuilder, "EVERY", 0.0)
    platform.rebuilder._refused.clear()  # half a minute passes
    assert platform.rebuilder.turn() == 1


def test_an_endpoint_that_is_deleted_meanwhile_harms_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(platform, "e", "f" * 32)
    ensure = platform.environments.ensure

    def deleted(*args: object, **named: object) -> object:
        platform.endpoints.delete("e")
        return ensure(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(platform.environments, "ensure", deleted)
    platform.rebuilder.turn()
    assert platform.endpoints.list() == []


def test_a_control_plane_that_ends_builds_no_further(platform: Platform) -> None:
    deploy(platform, "e", "f" * 32, "iniconfig>=2")
    platform.rebuilder.start()
    platform.rebuilder.stop(timeout=60)
    platform.rebuilder.stop(timeout=60)
    left = list(Path(platform.home.environments).glob(".building-*"))
    assert left == []
