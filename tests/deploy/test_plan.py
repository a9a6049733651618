"""The pool of a deployment."""

import msgspec
import pytest

from modelyard.core.deployment import Deployment, DeploymentSettings, Leave, Resources
from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.core.model import Analysis, Version
from modelyard.core.signature import Signature, TensorSpec
from modelyard.deploy.plan import pool_of

SIGNATURE = Signature(inputs=(TensorSpec(name="x", datatype="FP32"),))
DEPLOYMENT = Deployment(
    id="d1", endpoint="e", revision=1, model="m", version=2, state="pending",
    settings=DeploymentSettings(replicas=3, resources=Resources(threads=2)),
)  # fmt: skip


def version(**analysis: object) -> Version:
    manifest = manifest_of([FileEntry(path="model.onnx", size=1, sha256="0" * 64)])
    return Version(
        model="m", number=2, digest=manifest.digest, manifest=manifest,
        analysis=msgspec.convert({"format": "f", "adapter": "a", **analysis}, Analysis),
    )  # fmt: skip


def test_it_carries_what_the_user_set() -> None:
    pool = pool_of(version(), DEPLOYMENT, "/python", "/files", by_trust=False)
    assert (pool.replicas, pool.resources.threads) == (3, 2)
    assert (pool.executor.python, pool.executor.files, pool.executor.adapter) == ("/python", "/files", "a")


def test_a_signature_that_the_files_tell_is_in_it() -> None:
    known = msgspec.to_builtins(SIGNATURE)
    pool = pool_of(
        version(signature=known, options={"signature": known}),
        DEPLOYMENT,
        "/python",
        "/files",
        by_trust=False,
    )
    assert pool.signature == SIGNATURE


def test_a_signature_that_was_learnt_later_does_not_change_it() -> None:
    before = version(options={"signature": None})
    after = msgspec.structs.replace(
        before, analysis=msgspec.structs.replace(before.analysis, signature=SIGNATURE)
    )
    assert pool_of(before, DEPLOYMENT, "/p", "/f", by_trust=False) == pool_of(
        after, DEPLOYMENT, "/p", "/f", by_trust=False
    )


@pytest.mark.parametrize(
    ("author", "given", "has"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
def test_who_deploys_has_the_last_word_on_the_network(author: bool, given: bool | None, has: bool) -> None:
    settings = DeploymentSettings(leave=Leave(network=given, folders=("/data",)))
    deployment = msgspec.structs.replace(DEPLOYMENT, settings=settings)
    pool = pool_of(version(network=author), deployment, "/python", "/files", by_trust=False)
    assert pool.leave == Leave(network=has, folders=("/data",))


@pytest.mark.parametrize(("given", "has"), [(None, False), (True, True), (False, False)])
def test_who_was_let_in_by_trust_runs_in_a_sandbox_that_its_author_does_not_open(
    given: bool | None, has: bool
) -> None:
    deployment = msgspec.structs.replace(
        DEPLOYMENT, settings=DeploymentSettings(leave=Leave(network=given))
    )
    pool = pool_of(version(network=True), deployment, "/python", "/files", by_trust=True)
    assert (pool.executor.sandboxed, pool.leave.network) == (True, has)
    assert not pool_of(version(), deployment, "/python", "/files", by_trust=False).executor.sandboxed
