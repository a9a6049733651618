"""The reconciler's thread, with a real database; the node's part is played by an object in memory."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.core.deployment import Deployment, DeploymentSettings
from modelyard.core.errors import Conflict, Unavailable
from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.core.model import Analysis, Version
from modelyard.core.routes import Footprint, NodeStatus, Pool, PoolStatus, Remote, RouteTable
from modelyard.core.signature import Signature, TensorSpec
from modelyard.deploy.plan import pool_of
from modelyard.deploy.reconciler import Reconciler
from modelyard.deploy.signal import Signal
from modelyard.store.database import Database
from modelyard.store.endpoints import Endpoints
from modelyard.store.remotes import Remotes
from modelyard.store.versions import Versions

SIGNATURE = Signature(inputs=(TensorSpec(name="x", datatype="FP32"),))


class Node:
    """A target that brings up at once whatever it is told, or what ``says`` tells."""

    def __init__(self) -> None:
        self.table = RouteTable()
        self.up = True
        self.refuses = False
        self.says: dict[str, str] = {}
        self.told = 0
        self.footprint: Footprint | None = None

    def apply(self, table: RouteTable) -> None:
        if not self.up:
            raise Unavailable("down")
        if self.refuses:
            raise Conflict("newer")
        assert table.generation > self.table.generation
        self.told += 1
        self.table = table

    def status(self) -> NodeStatus:
        if not self.up:
            raise Unavailable("down")
        pools = tuple(
            PoolStatus(
                deployment=pool.deployment, endpoint=pool.endpoint, signature=SIGNATURE, failure="it raised",
                footprint=self.footprint,
                state=self.says.get(pool.deployment, "ready"),
            )
            for pool in self.table.pools
        )  # fmt: skip
        return NodeStatus(pid=1, generation=self.table.generation, started=0.0, pools=pools)

    def logs(self, deployment: str, tail: int) -> str:
        return ""


class Yard:
    def __init__(self, place: Path | str) -> None:
        self.database = Database(place)
        self.database.migrate()
        self.endpoints = Endpoints(self.database)
        self.remotes = Remotes(self.database)
        self.versions = Versions(self.database)
        self.node = Node()
        self.changed = Signal()
        self.broken = False
        self.reconciler = self.make()
        for number in (1, 2, 3):
            manifest = manifest_of([FileEntry(path="a", size=number, sha256=f"{number:064x}")])
            self.versions.add("m", manifest, Analysis(format="f", adapter="a"), False)

    def make(self) -> Reconciler:
        return Reconciler(
            endpoints=self.endpoints, remotes=self.remotes, versions=self.versions, target=self.node, pool_source=self.pool,
            keys=None, changes=threading.RLock(), changed=self.changed,
        )  # fmt: skip

    def pool(self, version: Version, deployment: Deployment) -> Pool:
        if self.broken:
            raise RuntimeError("the disk is on fire")
        return pool_of(version, deployment, "/python", "/files", by_trust=False)

    def deploy(self, version: int) -> str:
        return self.endpoints.deploy("e", "m", version, DeploymentSettings(), "env").id

    def steps(self, count: int = 4) -> bool:
        return [self.reconciler.step() for _ in range(count)][-1]


@pytest.fixture
def yard(place: Path | str) -> Iterator[Yard]:
    yard = Yard(place)
    yield yard
    yard.reconciler.stop(timeout=60)
    yard.database.close()


def test_a_deployment_gets_the_traffic_and_then_all_is_calm(yard: Yard) -> None:
    id = yard.deploy(1)
    assert yard.steps()
    assert yard.endpoints.get("e").serving == id
    assert yard.endpoints.deployment(id).state == "ready"
    told = yard.node.told
    assert yard.steps() and yard.node.told == told


def test_a_deployment_that_gets_another_environment_gets_another_pool(yard: Yard) -> None:
    id = yard.deploy(1)
    yard.steps()
    made: list[str | None] = []

    def pool(version: Version, deployment: Deployment) -> Pool:
        made.append(deployment.environment)
        return pool_of(version, deployment, f"/{deployment.environment}", "/files", by_trust=False)

    yard.reconciler._pool_source = pool
    yard.endpoints.move_to(id, "other", "its own is gone")
    assert yard.steps()
    (now,) = yard.node.table.pools
    assert (now.deployment, now.executor.python, made) == (id, "/other", ["other"])
    assert yard.endpoints.get("e").serving == id


def test_a_replacement_retires_the_former_one(yard: Yard) -> None:
    first = yard.deploy(1)
    yard.steps()
    second = yard.deploy(2)
    yard.steps()
    assert yard.endpoints.get("e").serving == second
    assert yard.endpoints.deployment(first).state == "retired"


def test_a_failing_replacement_is_failed_and_the_endpoint_goes_back(yard: Yard) -> None:
    first = yard.deploy(1)
    yard.steps()
    second = yard.deploy(2)
    yard.node.says[second] = "failing"
    yard.steps()
    endpoint = yard.endpoints.get("e")
    assert (endpoint.wanted, endpoint.serving) == (first, first)
    assert yard.endpoints.deployment(second).state == "failed"
    assert yard.endpoints.deployment(second).reason == "it raised"
    assert [pool.deployment for pool in yard.node.table.pools] == [first]


def test_one_that_never_became_ready_is_retired_when_a_third_comes(yard: Yard) -> None:
    yard.deploy(1)
    yard.steps()
    second = yard.deploy(2)
    yard.node.says[second] = "starting"
    yard.steps()
    third = yard.deploy(3)
    yard.steps()
    assert yard.endpoints.deployment(second).state == "retired"
    assert yard.endpoints.get("e").serving == third


def test_a_node_that_is_down_changes_no_state(yard: Yard) -> None:
    yard.node.up = False
    id = yard.deploy(1)
    assert not yard.steps()
    assert yard.endpoints.deployment(id).state == "pending"
    yard.node.up = True
    assert yard.steps()
    assert yard.endpoints.get("e").serving == id


def test_traffic_is_not_moved_in_the_database_before_the_node_took_the_table(yard: Yard) -> None:
    first = yard.deploy(1)
    yard.steps()
    second = yard.deploy(2)
    yard.steps(1)
    yard.node.refuses = True
    yard.steps()
    assert yard.endpoints.get("e").serving == first
    yard.node.refuses = False
    yard.steps()
    assert yard.endpoints.get("e").serving == second


def test_a_restarted_control_plane_sends_the_same_pools(yard: Yard) -> None:
    yard.deploy(1)
    yard.steps()
    before = yard.node.table
    yard.reconciler = yard.make()
    yard.steps()
    assert yard.node.table.generation > before.generation
    assert (yard.node.table.pools, yard.node.table.routes) == (before.pools, before.routes)


def test_a_learnt_signature_is_kept_and_leaves_the_pool_as_it_was(yard: Yard) -> None:
    yard.deploy(1)
    yard.steps()
    assert yard.versions.get("m", 1).analysis.signature == SIGNATURE
    told = yard.node.told
    yard.endpoints.deploy("other", "m", 2, DeploymentSettings(), "env")
    yard.steps()
    assert yard.node.told > told
    assert yard.node.table.pools[0].signature is None


def test_measured_memory_is_kept_with_the_version_and_leaves_the_pool_as_it_was(yard: Yard) -> None:
    yard.deploy(1)
    yard.steps()
    told, pools = yard.node.told, yard.node.table.pools
    for most, kept in ((1000, 1000), (1010, 1000), (1200, 1200)):
        yard.node.footprint = Footprint(loading=900, loaded=900, most=most, seconds=1.0)
        yard.steps()
        assert yard.versions.get("m", 1).analysis.memory_measured == kept
    assert (yard.node.told, yard.node.table.pools) == (told, pools)


def test_a_deleted_endpoint_leaves_the_node(yard: Yard) -> None:
    yard.deploy(1)
    yard.steps()
    yard.endpoints.delete("e")
    yard.steps()
    assert yard.node.table.pools == ()


def test_the_thread_outlives_a_failing_pass_and_tells_it_once(
    yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    yard.broken = True
    id = yard.deploy(1)
    yard.reconciler.MOVING = 0.001
    with caplog.at_level(logging.ERROR):
        yard.reconciler.start()
        while not caplog.records:
            yard.changed.wait(yard.changed.count, 0.01)
        for _ in range(5):
            yard.reconciler.wake()
            yard.changed.wait(yard.changed.count, 0.01)
    assert len(caplog.records) == 1 and caplog.records[0].exc_info
    yard.broken = False
    yard.reconciler.wake()
    yard.changed.until(lambda: yard.endpoints.get("e").serving == id or None, every=0.05)


def test_remotes_are_pushed_once_when_they_change_and_by_the_next_process_too(yard: Yard) -> None:
    yard.remotes.add("e", Remote(url="http://far:8701", model="m"))
    assert yard.steps()
    assert yard.node.table.routes[0].remotes[0].url == "http://far:8701"
    assert yard.node.table.default == "e"
    told = yard.node.told
    assert yard.steps() and yard.node.told == told
    yard.remotes.add("e", Remote(url="http://other:8701", model="m"))
    yard.reconciler = yard.make()  # killed between the write and the push
    assert yard.steps()
    assert len(yard.node.table.routes[0].remotes) == 2


def test_a_deployment_shares_the_calls_of_its_remotes_when_it_is_ready(yard: Yard) -> None:
    yard.remotes.add("e", Remote(url="http://far:8701", model="m"))
    id = yard.deploy(1)
    assert yard.steps()
    (route,) = yard.node.table.routes
    assert (route.deployment, len(route.remotes)) == (id, 1)
    yard.remotes.delete("e")
    assert yard.steps()
    (route,) = yard.node.table.routes
    assert (route.deployment, route.remotes) == (id, ())
    yard.remotes.add("e", Remote(url="http://far:8701", model="m"))
    yard.endpoints.delete("e")
    assert yard.steps()
    assert (yard.node.table.routes, yard.remotes.list()) == ((), [])
