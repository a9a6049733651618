"""What to do next, as a pure function of what is wanted and what a node reports.

Level-triggered: nothing here remembers an earlier decision, so a control plane that was killed at
any instant carries on from whatever state it finds. The rules:

- The route of an endpoint goes to the wanted revision as soon as that one is ready, and stays with
  the serving revision until then, whatever state that one is in. A first revision has a pool and no
  route until it is ready.
- A wanted revision that the node calls ``failing`` has failed: its pool leaves the table, the endpoint
  goes back to the revision that serves. A revision that already has the traffic never "fails": the
  node goes on healing it, because there is nothing better to do with its calls.
- Remotes are routed to as they are set, whatever becomes of a deployment of the same name: they share
  its traffic from when it is ready.
- A revision that is withheld (its version is in quarantine, and that is to stop it) leaves the table and has failed,
  also when it has the traffic; it stays out until something is deployed anew.
- A node that is not known to be in some state changes nothing: unknown is a third answer.
- The table is pushed only when its content differs from what the node is known to have, and then with
  a generation above both; the pools that stay are the same to the byte.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from modelyard.core.deployment import Deployment, DeploymentState
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import Grant, NodeStatus, Pool, PoolStatus, Route, RouteTable
from modelyard.core.signature import Signature
from modelyard.core.struct import Noun

# It answered a prediction: now, or before it was put to sleep.
_SERVES = ("ready", "asleep", "waking")


class Revision(Noun):
    """A deployment with the pool that it needs. ``signature_known``: its version has a signature; ``memory``: the
    most bytes that one of its replicas was known to take (None: not measured yet). ``withheld``: why it may not
    serve, whatever it did until now."""

    deployment: Deployment
    pool: Pool
    signature_known: bool = True
    memory: int | None = None
    withheld: str | None = None


class Line(Noun):
    """One endpoint: the revision that is to have the traffic and the one that has it.

    ``serving`` is None before the first rollout has succeeded, and equal to ``wanted`` when calm.
    ``superseded`` are revisions under way that something newer has replaced.
    """

    endpoint: str
    wanted: Revision
    serving: Revision | None = None
    superseded: tuple[Deployment, ...] = ()


class Wanted(Noun):
    """The state that the database asks for. ``remotes`` serve beside the lines of their names, or alone."""

    lines: tuple[Line, ...] = ()
    remotes: tuple[RemoteRoute, ...] = ()
    default: str | None = None
    keys: tuple[str, ...] | None = None
    grants: tuple[Grant, ...] = ()


class Observed(Noun):
    """What is known of the node. ``pushed`` is the table that it last accepted from this process
    (None: not known), ``status`` what it said now (None: it did not answer)."""

    pushed: RouteTable | None = None
    status: NodeStatus | None = None


class StateChange(Noun):
    """A deployment gets a new state."""

    deployment: Deployment
    state: DeploymentState
    reason: str | None = None


class Learnt(Noun):
    """What a running replica told of its version: the signature that its files do not say, the memory that it was
    measured to take (bytes)."""

    model: str
    version: int
    signature: Signature | None = None
    memory: int | None = None


class Actions(Noun):
    """What to do, in the order of the fields.

    Failures are written before the table is pushed, and moved traffic after it, so that a kill in
    between leaves a state from which the next pass does the same again.
    """

    changes: tuple[StateChange, ...] = ()
    reverts: tuple[Deployment, ...] = ()  # the endpoint goes back from this failed revision
    table: RouteTable | None = None
    serves: tuple[Deployment, ...] = ()  # the route is on this revision now: make it the serving one
    learnt: tuple[Learnt, ...] = ()
    calm: bool = True


def decide(wanted: Wanted, observed: Observed, now: float) -> Actions:
    """The next step towards ``wanted``. ``now`` (seconds) is only compared with times of the state;
    no rule needs it yet, because no start-up has a limit of time."""
    status = observed.status
    moving = any(_moving(line) for line in wanted.lines)
    if status is None:
        return Actions(calm=False)
    # A pool that was opened anew stands beside its former self, which drains.
    reported = {pool.deployment: pool for pool in status.pools if pool.state != "draining"}
    changes: list[StateChange] = []
    reverts: list[Deployment] = []
    serves: list[Deployment] = []
    learnt: dict[tuple[str, int], Learnt] = {}
    pools: list[Pool] = []
    deployed: dict[str, str] = {}  # endpoint -> the deployment that has the traffic
    for line in sorted(wanted.lines, key=lambda line: line.endpoint):
        decision = _decide_line(line, reported)
        changes += decision.changes
        reverts += decision.reverts
        serves += decision.serves
        pools += [revision.pool for revision in decision.revisions]
        if decision.route is not None:
            deployed[line.endpoint] = decision.route.id
        for revision in decision.revisions:
            told = _learnt(revision, reported.get(revision.deployment.id))
            if told is not None:
                learnt[told.model, told.version] = told
    table = _table_to_push(pools, _routes(deployed, wanted.remotes), wanted, observed, status)
    return Actions(
        changes=tuple(changes),
        reverts=tuple(reverts),
        table=table,
        serves=tuple(serves),
        learnt=tuple(learnt.values()),
        calm=not (moving or table is not None),
    )


def _learnt(revision: Revision, report: PoolStatus | None) -> Learnt | None:
    """What the report says that was not known. Memory is told again when it has grown by a twentieth: each word of
    it is a write."""
    if report is None:
        return None
    signature = report.signature if not revision.signature_known else None
    memory = report.footprint.most if report.footprint is not None else None
    if memory is not None and revision.memory is not None and memory <= revision.memory * 1.05:
        memory = None
    if signature is None and memory is None:
        return None
    deployment = revision.deployment
    return Learnt(model=deployment.model, version=deployment.version, signature=signature, memory=memory)


def _routes(deployed: dict[str, str], remotes: Sequence[RemoteRoute]) -> list[Route]:
    """Each endpoint's way: its deployment, once one is ready, and its remotes."""
    elsewhere = {route.endpoint: route for route in remotes}
    routes: list[Route] = []
    for name in sorted(deployed.keys() | elsewhere.keys()):
        route = Route(endpoint=name, deployment=deployed.get(name))
        if (remote := elsewhere.get(name)) is not None:
            route = replace(route, weight=remote.weight, remotes=remote.remotes, retry=remote.retry)
        routes.append(route)
    return routes


class _Decision(Noun):
    revisions: tuple[Revision, ...] = ()
    route: Deployment | None = None
    changes: tuple[StateChange, ...] = ()
    reverts: tuple[Deployment, ...] = ()
    serves: tuple[Deployment, ...] = ()


def _decide_line(line: Line, reported: dict[str, PoolStatus]) -> _Decision:
    wanted, serving = line.wanted, line.serving
    changes = [
        StateChange(
            deployment=former,
            state="retired",
            reason=f"Replaced by revision {wanted.deployment.revision} before it was ready.",
        )
        for former in line.superseded
    ]
    both = [wanted]
    if serving is not None and serving.deployment.id != wanted.deployment.id:
        both.append(serving)
    changes += [
        StateChange(deployment=each.deployment, state="failed", reason=each.withheld)
        for each in both
        if each.withheld is not None and each.deployment.state not in ("failed", "retired")
    ]
    if serving is not None and (serving.withheld is not None or serving.deployment.state == "failed"):
        if serving.deployment.id == wanted.deployment.id:
            return _Decision(changes=tuple(changes))
        serving = None
    if wanted.withheld is not None:
        return _Decision(
            revisions=(serving,) if serving is not None else (),
            route=serving.deployment if serving is not None else None,
            changes=tuple(changes),
            reverts=(wanted.deployment,) if serving is not None else (),
        )
    if serving is not None and serving.deployment.id == wanted.deployment.id:
        if wanted.deployment.state != "ready":
            changes.append(StateChange(deployment=wanted.deployment, state="ready"))
        return _Decision(revisions=(wanted,), route=wanted.deployment, changes=tuple(changes))
    report = reported.get(wanted.deployment.id)
    failed = wanted.deployment.state == "failed"
    if not failed and report is not None and report.state == "failing":
        failed = True
        reason = report.failure or "Its replicas could not be started; the node gave no reason."
        changes.append(StateChange(deployment=wanted.deployment, state="failed", reason=reason))
    if failed:
        return _Decision(
            revisions=(serving,) if serving is not None else (),
            route=serving.deployment if serving is not None else None,
            changes=tuple(changes),
            reverts=(wanted.deployment,) if serving is not None else (),
        )
    if report is not None and report.state in _SERVES:
        if wanted.deployment.state != "ready":
            changes.append(StateChange(deployment=wanted.deployment, state="ready"))
        return _Decision(
            revisions=(wanted,),
            route=wanted.deployment,
            changes=tuple(changes),
            serves=(wanted.deployment,),
        )
    if wanted.deployment.state == "pending":
        changes.append(StateChange(deployment=wanted.deployment, state="starting"))
    return _Decision(
        revisions=(serving, wanted) if serving is not None else (wanted,),
        route=serving.deployment if serving is not None else None,
        changes=tuple(changes),
    )


def _moving(line: Line) -> bool:
    if line.superseded:
        return True
    if line.serving is None:
        return line.wanted.deployment.state != "failed"
    return line.serving.deployment.id != line.wanted.deployment.id


def _table_to_push(
    pools: Sequence[Pool],
    routes: Sequence[Route],
    wanted: Wanted,
    observed: Observed,
    status: NodeStatus,
) -> RouteTable | None:
    """The new table, or None when the node is known to have just this content."""
    pushed = observed.pushed
    known = 0 if pushed is None else pushed.generation
    # A default without a pool or a route would be a name that the node cannot resolve.
    named = {pool.endpoint for pool in pools} | {route.endpoint for route in routes}
    table = RouteTable(
        generation=max(known, status.generation) + 1,
        pools=tuple(pools),
        routes=tuple(routes),
        default=wanted.default if wanted.default in named else None,
        keys=wanted.keys,
        grants=wanted.grants,
    )
    if pushed is None or pushed.generation != status.generation:
        return table
    same = (
        pushed.pools == table.pools
        and pushed.routes == table.routes
        and pushed.default == table.default
        and pushed.keys == table.keys
        and pushed.grants == table.grants
    )
    return None if same else table
