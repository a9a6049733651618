"""The reconciler's decision, against a simulated node that starts, fails, dies and comes back."""

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelyard.core.deployment import Deployment, DeploymentSettings
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import (
    ExecutorSpec,
    Footprint,
    Grant,
    NodeStatus,
    Pool,
    PoolStatus,
    Remote,
    RetryOptions,
    RouteTable,
)
from modelyard.core.signature import Signature, TensorSpec
from modelyard.deploy.reconcile import Line, Observed, Revision, Wanted, decide

SIGNATURE = Signature(inputs=(TensorSpec(name="x", datatype="FP32"),))


_SERVED = ("ready", "asleep", "waking")


def revision(id: str, *, state="pending", endpoint="e", number=1, signature_known=True) -> Revision:
    deployment = Deployment(
        id=id, endpoint=endpoint, revision=number, model="m", version=1,
        settings=DeploymentSettings(), state=state,
    )  # fmt: skip
    pool = Pool(
        deployment=id, endpoint=endpoint, model="m", version=1, digest="d",
        executor=ExecutorSpec(python="/python", adapter="onnx", files="/files"),
    )  # fmt: skip
    return Revision(deployment=deployment, pool=pool, signature_known=signature_known)


def node(generation=1, *, signature=None, failure=None, **pools: str) -> NodeStatus:
    return NodeStatus(
        pid=1,
        generation=generation,
        started=0.0,
        pools=tuple(
            PoolStatus(deployment=id, endpoint="e", state=state, signature=signature, failure=failure)
            for id, state in pools.items()
        ),
    )


def wanted(*lines: Line, default=None, keys=None) -> Wanted:
    return Wanted(lines=lines, default=default, keys=keys)


def test_a_node_that_does_not_answer_changes_nothing() -> None:
    line = Line(endpoint="e", wanted=revision("new"), serving=revision("old", state="ready"))
    actions = decide(wanted(line), Observed(pushed=RouteTable(generation=4), status=None), 0.0)
    assert (actions.changes, actions.reverts, actions.table, actions.serves) == ((), (), None, ())


def test_a_first_revision_gets_a_pool_and_no_route_until_it_is_ready() -> None:
    actions = decide(wanted(Line(endpoint="e", wanted=revision("new"))), Observed(status=node(0)), 0.0)
    assert actions.table is not None
    assert [pool.deployment for pool in actions.table.pools] == ["new"]
    assert actions.table.routes == ()
    assert [(change.deployment.id, change.state) for change in actions.changes] == [("new", "starting")]


def test_remotes_serve_alone_until_the_deployment_beside_them_is_ready() -> None:
    far = RemoteRoute(
        endpoint="e", remotes=(Remote(url="http://far", model="m"),), weight=0.5, retry=RetryOptions(attempts=2)
    )  # fmt: skip
    line = Line(endpoint="e", wanted=revision("new", state="starting"))
    for state, deployment in (("starting", None), ("ready", "new"), ("failing", None)):
        want = Wanted(lines=(line,), remotes=(far,), default="e")
        table = decide(want, Observed(status=node(1, new=state)), 0.0).table
        assert table is not None and table.default == "e"
        (route,) = table.routes
        assert (route.deployment, route.remotes, route.retry.attempts) == (deployment, far.remotes, 2)
        assert route.weight == 0.5


@pytest.mark.parametrize("state", ["ready", "asleep", "waking"])
def test_a_revision_that_has_served_takes_the_route_and_the_old_pool_leaves(state: str) -> None:
    line = Line(
        endpoint="e", wanted=revision("new", state="starting"), serving=revision("old", state="ready")
    )
    actions = decide(wanted(line), Observed(status=node(3, old="asleep", new=state)), 0.0)
    assert actions.table is not None and actions.table.generation == 4
    assert [pool.deployment for pool in actions.table.pools] == ["new"]
    assert [(route.endpoint, route.deployment) for route in actions.table.routes] == [("e", "new")]
    assert [deployment.id for deployment in actions.serves] == ["new"]
    assert [(change.deployment.id, change.state) for change in actions.changes] == [("new", "ready")]


def test_a_failing_revision_is_failed_with_the_nodes_report_and_the_old_one_is_left_alone() -> None:
    old = revision("old", state="ready")
    line = Line(endpoint="e", wanted=revision("new", state="starting"), serving=old)
    actions = decide(
        wanted(line), Observed(status=node(3, old="ready", new="failing", failure="boom")), 0.0
    )
    assert [(c.deployment.id, c.state, c.reason) for c in actions.changes] == [("new", "failed", "boom")]
    assert [deployment.id for deployment in actions.reverts] == ["new"]
    assert actions.table is not None
    assert actions.table.pools == (old.pool,)
    assert actions.table.routes[0].deployment == "old"


def test_a_failed_first_revision_leaves_the_table_and_there_is_nothing_to_revert_to() -> None:
    line = Line(endpoint="e", wanted=revision("new", state="failed"))
    actions = decide(wanted(line, default="e"), Observed(status=node(3, new="failing")), 0.0)
    assert actions.table is not None
    assert (actions.table.pools, actions.table.routes, actions.table.default) == ((), (), None)
    assert actions.reverts == () and actions.changes == ()


def test_a_failed_revision_that_was_not_reverted_yet_is_reverted() -> None:
    line = Line(
        endpoint="e", wanted=revision("new", state="failed"), serving=revision("old", state="ready")
    )
    actions = decide(wanted(line), Observed(status=node(1, old="ready")), 0.0)
    assert [deployment.id for deployment in actions.reverts] == ["new"]


def test_the_serving_revision_keeps_pool_and_route_while_it_is_failing() -> None:
    old = revision("old", state="ready")
    line = Line(endpoint="e", wanted=old, serving=old)
    actions = decide(wanted(line), Observed(status=node(3, old="failing", failure="killed")), 0.0)
    assert actions.changes == ()
    assert actions.table is not None and actions.table.pools == (old.pool,)
    assert actions.table.routes[0].deployment == "old"


def test_nothing_is_pushed_when_the_node_has_the_table() -> None:
    old = revision("old", state="ready")
    want = wanted(Line(endpoint="e", wanted=old, serving=old), default="e", keys=("k",))
    table = decide(want, Observed(status=node(0)), 0.0).table
    again = decide(want, Observed(pushed=table, status=node(1, old="starting")), 0.0)
    assert again.table is None and again.calm


def test_a_node_with_another_generation_gets_the_table_with_a_higher_one() -> None:
    old = revision("old", state="ready")
    want = wanted(Line(endpoint="e", wanted=old, serving=old))
    table = decide(want, Observed(status=node(6)), 0.0).table
    assert table is not None and table.generation == 7
    for reported in (0, 3, 12):
        again = decide(want, Observed(pushed=table, status=node(reported)), 0.0).table
        assert again is not None and again.generation == max(7, reported) + 1
        assert msgspec.json.encode(again.pools) == msgspec.json.encode(table.pools)


def test_changed_grants_are_pushed() -> None:
    one, other = Grant(digest="a", endpoints=("e",)), Grant(digest="a", endpoints=("e", "f"))
    table = decide(Wanted(keys=(), grants=(one,)), Observed(status=node(0)), 0.0).table
    assert table is not None and table.grants == (one,)
    assert decide(Wanted(keys=(), grants=(one,)), Observed(pushed=table, status=node(1)), 0.0).table is None
    pushed = decide(Wanted(keys=(), grants=(other,)), Observed(pushed=table, status=node(1)), 0.0).table
    assert pushed is not None and pushed.grants == (other,)


def test_changed_keys_are_pushed() -> None:
    table = decide(wanted(keys=("a",)), Observed(status=node(0)), 0.0).table
    assert decide(wanted(keys=("b",)), Observed(pushed=table, status=node(1)), 0.0).table is not None


def test_a_deleted_endpoint_leaves_the_table() -> None:
    old = revision("old", state="ready")
    table = decide(wanted(Line(endpoint="e", wanted=old, serving=old)), Observed(status=node(0)), 0.0).table
    after = decide(wanted(), Observed(pushed=table, status=node(1, old="ready")), 0.0).table
    assert after is not None and after.pools == () and after.routes == ()


def test_a_revision_that_was_replaced_on_its_way_is_retired() -> None:
    line = Line(
        endpoint="e",
        wanted=revision("third", number=3),
        serving=revision("first", state="ready"),
        superseded=(revision("second", number=2, state="starting").deployment,),
    )
    actions = decide(wanted(line), Observed(status=node(1, first="ready", second="starting")), 0.0)
    assert ("second", "retired") in [(change.deployment.id, change.state) for change in actions.changes]
    assert actions.table is not None
    assert [pool.deployment for pool in actions.table.pools] == ["first", "third"]


@pytest.mark.parametrize(
    ("known", "measured", "learnt"),
    [(None, 100, [100]), (100, 100, []), (100, 104, []), (100, 110, [110]), (100, 50, [])],
)
def test_memory_is_learnt_when_it_is_measured_and_again_when_it_has_grown(
    known: int | None, measured: int, learnt: list[int]
) -> None:
    serves = msgspec.structs.replace(revision("a", state="ready"), memory=known)
    footprint = Footprint(loading=measured, loaded=measured, most=measured, seconds=1.0)
    status = node(1, a="ready")
    status = msgspec.structs.replace(
        status, pools=(msgspec.structs.replace(status.pools[0], footprint=footprint),)
    )
    line = Line(endpoint="e", wanted=serves, serving=serves)
    found = decide(wanted(line), Observed(status=status), 0.0).learnt
    assert [(each.memory, each.signature) for each in found] == [(memory, None) for memory in learnt]


def test_a_signature_that_only_the_executor_knew_is_learnt_once() -> None:
    unknown = revision("old", state="ready", signature_known=False)
    line = Line(endpoint="e", wanted=unknown, serving=unknown)
    status = node(1, old="ready", signature=SIGNATURE)
    learnt = decide(wanted(line), Observed(status=status), 0.0).learnt
    assert [(item.model, item.version, item.signature) for item in learnt] == [("m", 1, SIGNATURE)]
    known = revision("old", state="ready")
    assert (
        decide(wanted(Line(endpoint="e", wanted=known, serving=known)), Observed(status=status), 0.0).learnt
        == ()
    )


class Rollouts(RuleBasedStateMachine):
    """A database and a node in a few lines each; the real ``decide`` between them.

    Replicas of a good revision become ready after a while, of a bad one fail. The node may die (it
    keeps its table), lose its table, the control plane may be killed between any two writes, and an
    answer to a push may get lost.
    """

    @initialize()
    def begin(self) -> None:
        self.states: dict[str, str] = {}
        self.revisions: dict[str, tuple[str, int, bool]] = {}  # id -> endpoint, number, good
        self.endpoints: dict[str, tuple[str, str | None]] = {}  # name -> wanted, serving
        self.count = 0
        self.pushed: RouteTable | None = None
        self.table = RouteTable()
        self.pools: dict[str, str] = {}
        self.up = True
        self.started: dict[str, bytes] = {}  # deployment -> the pool that its replicas run

    # The world -------------------------------------------------------------------------------

    @rule(endpoint=st.sampled_from("ab"), good=st.booleans())
    def deploy(self, endpoint: str, good: bool) -> None:
        self.count += 1
        id = f"{endpoint}{self.count}"
        self.revisions[id] = (endpoint, self.count, good)
        self.states[id] = "pending"
        serving = self.endpoints.get(endpoint, ("", None))[1]
        self.endpoints[endpoint] = (id, serving)

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.endpoints)))
        del self.endpoints[name]

    @rule(data=st.data())
    def time_passes_in_the_node(self, data: st.DataObject) -> None:
        if not self.up:
            return
        for id, state in self.pools.items():
            if state == "starting" and data.draw(st.booleans()):
                self.pools[id] = "ready" if self.revisions[id][2] else "failing"
            elif state in _SERVED and data.draw(st.booleans()):
                self.pools[id] = data.draw(st.sampled_from(_SERVED))

    @rule(keeps=st.booleans())
    def node_restarts(self, keeps: bool) -> None:
        self.up = True
        self.pools.clear()
        self.started.clear()
        if not keeps:
            self.table = RouteTable()
        self._node_takes(self.table)

    @rule()
    def node_dies(self) -> None:
        self.up = False

    @rule()
    def control_restarts(self) -> None:
        self.pushed = None

    # The reconciler ----------------------------------------------------------------------------

    def _wanted(self) -> Wanted:
        lines = []
        for name, (want, serving) in self.endpoints.items():
            superseded = [
                self._revision(id).deployment
                for id, (endpoint, _, _) in self.revisions.items()
                if endpoint == name
                and id not in (want, serving)
                and self.states[id] in ("pending", "starting")
            ]
            lines.append(
                Line(
                    endpoint=name,
                    wanted=self._revision(want),
                    serving=self._revision(serving) if serving else None,
                    superseded=tuple(superseded),
                )
            )
        return Wanted(lines=tuple(lines))

    def _revision(self, id: str) -> Revision:
        endpoint, number, _ = self.revisions[id]
        return revision(id, endpoint=endpoint, number=number, state=self.states[id])

    def _status(self) -> NodeStatus | None:
        if not self.up:
            return None
        return NodeStatus(
            pid=1,
            generation=self.table.generation,
            started=0.0,
            pools=tuple(
                PoolStatus(deployment=id, endpoint=self.revisions[id][0], state=state, failure="it raised")
                for id, state in self.pools.items()
            ),
        )

    def _node_takes(self, table: RouteTable) -> None:
        self.table = table
        named = {pool.deployment: msgspec.json.encode(pool) for pool in table.pools}
        for id in list(self.pools):
            if self.started[id] != named.get(id):
                del self.pools[id], self.started[id]
        for id, raw in named.items():
            if id not in self.pools:
                self.pools[id], self.started[id] = "starting", raw

    def _check_table(self, table: RouteTable) -> None:
        assert table.generation > self.table.generation
        present = {pool.deployment for pool in table.pools}
        for route in table.routes:
            assert route.deployment in present
            assert self.revisions[route.deployment][2], "a bad revision took traffic"
            ready = {
                id
                for id, state in self.pools.items()
                if state in _SERVED and id in present and self.revisions[id][0] == route.endpoint
            }
            assert not ready or route.deployment in ready
        routed = {route.endpoint for route in table.routes}
        for name, (_, serving) in self.endpoints.items():
            assert serving is None or name in routed, "an endpoint lost its route"

    def _step(self, killed_after: int | None = None, answer_lost: bool = False) -> bool:
        actions = decide(self._wanted(), Observed(pushed=self.pushed, status=self._status()), 0.0)
        writes = 0

        def killed() -> bool:
            nonlocal writes
            writes += 1
            return killed_after is not None and writes > killed_after

        for change in actions.changes:
            if killed():
                return False
            assert not (change.state == "failed" and self.revisions[change.deployment.id][2])
            self.states[change.deployment.id] = change.state
        for deployment in actions.reverts:
            if killed():
                return False
            self.endpoints[deployment.endpoint] = (self.endpoints[deployment.endpoint][1],) * 2
        if actions.table is not None:
            if killed():
                return False
            healthy = {id for id, state in self.pools.items() if state in _SERVED}
            self._check_table(actions.table)
            self._node_takes(actions.table)
            for id in healthy & {pool.deployment for pool in actions.table.pools}:
                assert self.pools[id] in _SERVED, "a healthy replica was touched"
            if answer_lost:
                self.pushed = None
                return False
            self.pushed = actions.table
        for deployment in actions.serves:
            if killed():
                return False
            self.endpoints[deployment.endpoint] = (deployment.id, deployment.id)
        return actions.calm

    @rule()
    def a_pass(self) -> None:
        self._step()

    @rule(writes=st.integers(0, 4))
    def a_pass_that_is_killed(self, writes: int) -> None:
        self._step(killed_after=writes)
        self.pushed = None

    @rule()
    def a_pass_whose_answer_gets_lost(self) -> None:
        self._step(answer_lost=True)

    @invariant()
    def a_good_revision_never_fails(self) -> None:
        for id, (_, _, good) in getattr(self, "revisions", {}).items():
            assert not (good and self.states[id] == "failed")

    def teardown(self) -> None:
        """Left alone, it converges: the newest good revision of each endpoint, and only that, serves."""
        if not hasattr(self, "states"):
            return
        if not self.up:
            self.node_restarts(keeps=True)
        for _ in range(8):
            calm = self._step()
            for id, state in self.pools.items():
                if state == "starting":
                    self.pools[id] = "ready" if self.revisions[id][2] else "failing"
        assert calm
        assert {route.endpoint: route.deployment for route in self.table.routes} == {
            name: serving for name, (_, serving) in self.endpoints.items() if serving
        }
        assert set(self.pools) == {serving for _, serving in self.endpoints.values() if serving}
        for name, (want, serving) in self.endpoints.items():
            assert want == serving or (serving is None and self.states[want] == "failed"), name
            if serving is not None:
                assert self.states[serving] == "ready"


Rollouts.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestRolloutsConverge = Rollouts.TestCase


def _withheld(given: Revision) -> Revision:
    return msgspec.structs.replace(given, withheld="Version 1 of m is in quarantine. It is malicious.")


def test_a_revision_that_is_withheld_leaves_the_table_though_it_serves() -> None:
    old = _withheld(revision("old", state="ready"))
    actions = decide(
        wanted(Line(endpoint="e", wanted=old, serving=old)), Observed(status=node(old="ready")), 0.0
    )
    assert actions.table is not None and (actions.table.pools, actions.table.routes) == ((), ())
    assert [(each.deployment.id, each.state, each.reason) for each in actions.changes] == [
        ("old", "failed", old.withheld)
    ]


def test_it_stays_out_when_it_is_withheld_no_more_until_another_is_deployed() -> None:
    old = revision("old", state="failed")
    actions = decide(wanted(Line(endpoint="e", wanted=old, serving=old)), Observed(status=node()), 0.0)
    assert actions.changes == ()
    assert actions.table is not None and actions.table.pools == ()
    new = revision("new", number=2)
    line = Line(endpoint="e", wanted=new, serving=old)
    actions = decide(wanted(line), Observed(status=node(new="ready")), 0.0)
    assert actions.table is not None and [pool.deployment for pool in actions.table.pools] == ["new"]
    assert [each.id for each in actions.serves] == ["new"]


def test_a_wanted_revision_that_is_withheld_fails_and_the_other_serves_on() -> None:
    line = Line(endpoint="e", wanted=_withheld(revision("new")), serving=revision("old", state="ready"))
    actions = decide(wanted(line), Observed(status=node(old="ready", new="ready")), 0.0)
    assert [(each.deployment.id, each.state) for each in actions.changes] == [("new", "failed")]
    assert [each.id for each in actions.reverts] == ["new"]
    assert actions.table is not None and [pool.deployment for pool in actions.table.pools] == ["old"]
