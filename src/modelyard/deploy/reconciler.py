"""The thread that looks at database and target, decides, and carries the decision out."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec.structs import replace

from modelyard.core.deployment import Deployment, Endpoint
from modelyard.core.errors import Conflict, Unavailable
from modelyard.core.model import Version
from modelyard.core.routes import Grant, NodeStatus, Pool, RouteTable
from modelyard.deploy.reconcile import Actions, Line, Observed, Revision, Wanted, decide
from modelyard.deploy.signal import Signal
from modelyard.deploy.target import Target
from modelyard.store.endpoints import Endpoints
from modelyard.store.remotes import Remotes
from modelyard.store.versions import Versions

_Versions = dict[tuple[str, int], Version]
_log = logging.getLogger("modelyard.reconciler")


class PoolSource(Protocol):
    """Where the pool of a deployment comes from: its files laid out, its interpreter found."""

    def __call__(self, version: Version, deployment: Deployment) -> Pool:
        """The same pool at every call; a file that is missing is the node's to report."""
        ...


class Reconciler:
    """Runs :func:`decide` again and again: at once when woken, else by the clock.

    ``changes`` is held by everything in this process that writes endpoints: a pass reads without
    it, and writes only under it and only if nothing was written since. The control process is the
    one writer of its home (it holds ``run/control.lock``), so a lock in memory is enough; where other
    homes share the database they may delete an endpoint of this one in between, which the write itself
    refuses and the next pass sees.
    """

    MOVING = 0.25  # seconds between looks while anything is under way
    CALM = 2.0

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        remotes: Remotes,
        versions: Versions,
        target: Target,
        pool_source: PoolSource,
        keys: tuple[str, ...] | None,
        grants: Callable[[], tuple[Grant, ...]] = tuple,
        changes: threading.RLock,
        changed: Signal,
        used: Callable[[Mapping[str, float]], None] = lambda used: None,
        stop_quarantined: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoints = endpoints
        self._remotes = remotes
        self._versions = versions
        self._target = target
        self._pool_source = pool_source
        self._keys = keys
        self._grants = grants
        self._changes = changes
        self._changed = changed
        self._used = used
        self._stop_quarantined = stop_quarantined
        self._clock = clock
        self._wake = threading.Event()
        self._stop = False
        self._thread: threading.Thread | None = None
        self._pushed: RouteTable | None = None
        self._wanted: tuple[int, Wanted] | None = None
        self._revisions: dict[str, Revision] = {}
        self._node_answers: bool | None = None
        self._last_error: str | None = None

    @property
    def node_answers(self) -> bool | None:
        """Whether the target answered at the last pass; None before the first one."""
        return self._node_answers

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self, timeout: float = 5.0) -> None:
        """End after the pass that runs now; safe to call twice, or when never started."""
        self._stop = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stop:  # looked at after the clearing: its waking is never lost
                return
            try:
                calm = self.step()
                self._last_error = None
            except Unavailable as error:
                calm = True  # it is not asked more often than when all is calm
                if repr(error.code) != self._last_error:
                    _log.warning("the reconciler waits: %s", error.message)
                self._last_error = repr(error.code)
            except Exception as error:  # noqa: BLE001 - the edge of a thread that must not end
                calm = False
                # The same error at each quarter of a second would bury every other line.
                if repr(error) != self._last_error:
                    _log.exception("a pass of the reconciler failed; it goes on")
                self._last_error = repr(error)
            self._wake.wait(self.CALM if calm else self.MOVING)

    def step(self) -> bool:
        """One pass; True when nothing is left to do for now."""
        generation, wanted = self._read()
        status = self._observe()
        if status is not None and status.used:
            self._used(status.used)
        actions = decide(wanted, Observed(pushed=self._pushed, status=status), self._clock())
        with self._changes:
            if self._endpoints.generation() != generation:
                self._wake.set()
                return False
            return self._carry_out(actions) and actions.calm

    def _read(self) -> tuple[int, Wanted]:
        """What the database asks for; read again only when it has changed."""
        with self._changes:
            generation = self._endpoints.generation()
            if self._wanted is not None and self._wanted[0] == generation:
                return self._wanted
            endpoints, revisions = self._endpoints.snapshot(here=True)
            deployments = {deployment.id: deployment for deployment in revisions}
            remotes = self._remotes.list(here=True)
            grants = self._grants() if self._keys is not None else ()
            versions = self._versions_of(endpoints, deployments)
            default = self._endpoints.default()
            if default is None and remotes:
                default = remotes[0].endpoint
        lines: list[Line] = []
        for endpoint in endpoints:
            superseded = [
                deployment
                for deployment in deployments.values()
                if deployment.endpoint == endpoint.name
                and deployment.state in ("pending", "starting")
                and deployment.id not in (endpoint.wanted, endpoint.serving)
            ]
            serving = deployments[endpoint.serving] if endpoint.serving is not None else None
            lines.append(
                Line(
                    endpoint=endpoint.name,
                    wanted=self._revision(deployments[endpoint.wanted], versions),
                    serving=self._revision(serving, versions) if serving is not None else None,
                    superseded=tuple(superseded),
                )
            )
        living = {line.wanted.deployment.id for line in lines}
        living |= {line.serving.deployment.id for line in lines if line.serving is not None}
        self._revisions = {key: value for key, value in self._revisions.items() if key in living}
        self._wanted = (
            generation,
            Wanted(
                lines=tuple(lines),
                remotes=tuple(remotes),
                default=default,
                keys=self._keys,
                grants=grants,
            ),
        )
        return self._wanted

    def _versions_of(self, endpoints: list[Endpoint], deployments: dict[str, Deployment]) -> _Versions:
        """Those of the revisions that are not known yet, asked for at once: at a start that is all of them. Whether one
        was put into quarantine meanwhile is asked of every one."""
        roles = {id for each in endpoints for id in (each.wanted, each.serving) if id is not None}
        asked = roles if self._stop_quarantined else roles - self._revisions.keys()
        return self._versions.several({(deployments[id].model, deployments[id].version) for id in asked})

    def _revision(self, deployment: Deployment, versions: _Versions) -> Revision:
        """With the pool that was made when it was first seen: it must not change while it lives, unless its
        environment did."""
        former = self._revisions.get(deployment.id)
        if former is not None and former.deployment.environment != deployment.environment:
            former = None
        if former is not None and former.signature_known:
            revision = Revision(deployment=deployment, pool=former.pool, memory=former.memory)
        else:
            version = self._version(deployment, versions)
            revision = Revision(
                deployment=deployment,
                pool=former.pool if former is not None else self._pool_source(version, deployment),
                signature_known=version.analysis.signature is not None,
                memory=version.analysis.memory_measured,
            )
        self._revisions[deployment.id] = revision
        if self._stop_quarantined:
            quarantine = self._version(deployment, versions).quarantine
            if quarantine is not None:
                why = f"Version {deployment.version} of {deployment.model} is in quarantine. {quarantine}"
                return replace(revision, withheld=why)
        return revision

    def _version(self, deployment: Deployment, versions: _Versions) -> Version:
        known = versions.get((deployment.model, deployment.version))
        return known or self._versions.get(deployment.model, deployment.version)

    def _observe(self) -> NodeStatus | None:
        try:
            status = self._target.status()
        except Unavailable as error:
            if self._node_answers is not False:
                _log.warning("nothing is known of the node: %s", error.message)
            status = None
        if (status is not None) is not self._node_answers:
            self._node_answers = status is not None
            self._changed.notify()
        return status

    def _carry_out(self, actions: Actions) -> bool:
        """False when the target did not take the table; then nothing that depends on it is done."""
        for change in actions.changes:
            _log.info(
                "deployment %s (%s, revision %d) is %s", change.deployment.id, change.deployment.endpoint,
                change.deployment.revision, change.state,
            )  # fmt: skip
            self._endpoints.set_state(change.deployment.id, change.state, change.reason)
        for deployment in actions.reverts:
            self._endpoints.revert(deployment.endpoint)
        taken = actions.table is None or self._push(actions.table)
        if taken:
            for deployment in actions.serves:
                self._endpoints.serve(deployment.endpoint, deployment.id)
                _log.info("%s is served by %s now", deployment.endpoint, deployment.id)
            for learnt in actions.learnt:
                self._versions.learn(learnt.model, learnt.version, learnt.signature, learnt.memory)
                self._revisions = {
                    id: replace(each, memory=learnt.memory or each.memory)
                    if (each.deployment.model, each.deployment.version) == (learnt.model, learnt.version)
                    else each
                    for id, each in self._revisions.items()
                }
                self._wanted = None
        if actions.changes or actions.reverts or (taken and (actions.serves or actions.learnt)):
            self._changed.notify()
            self._wake.set()
        return taken

    def _push(self, table: RouteTable) -> bool:
        try:
            self._target.apply(table)
        except (Conflict, Unavailable) as error:
            # It may have been taken all the same; the next status tells.
            self._pushed = None
            _log.warning("table %d was not taken: %s", table.generation, error.message)
            return False
        self._pushed = table
        return True
