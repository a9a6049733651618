"""Builds the environments again that deployments here have and this machine has not: of a backup that was restored,
of a Python that was uninstalled, of a folder that somebody removed."""

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from modelyard.core.deployment import Deployment
from modelyard.core.errors import ModelyardError, NotFound, Unavailable
from modelyard.core.lockfile import difference
from modelyard.package.environment import Environment
from modelyard.pipeline.building import asked_python, build

if TYPE_CHECKING:
    from modelyard.control.platform import Platform

_log = logging.getLogger("modelyard.rebuilder")
_NICE = 5
_TOLD = 10  # packages of which is said what they became


class _Stopped(Exception):
    """The control plane ends: what is half built is removed, and begun anew by the next one."""


class Rebuilder:
    """Looks at the start and every minute; builds what is missing one after another, the oldest endpoint's first.

    The very versions that it had, by its lockfile; where these cannot be had here (another Python, another
    architecture, a version that its index withdrew) the deployment gets what its requirements are resolved to now,
    and the audit says so. What it has of its own cannot be lost: killed at any instant, the next one looks anew.
    """

    EVERY = 60.0
    REFUSED = 3600.0  # seconds until what cannot be fulfilled is tried again

    def __init__(self, platform: "Platform") -> None:
        self._platform = platform
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._kept: set[str] = set()  # environments whose lockfile is in the database
        self._told: dict[str, str] = {}  # what goes on with a deployment's environment
        self._refused: dict[str, float] = {}  # until when a deployment's is not tried again

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="rebuilder", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End within ``timeout`` seconds; safe to call twice, or when never started."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def told(self, deployment: str) -> str | None:
        """What goes on with the environment of a deployment; None when nothing does."""
        return self._told.get(deployment)

    def turn(self) -> int:
        """Build all that is missing and can be built; how many deployments have one again. What cannot be built is
        told by :meth:`told`, and tried again by a later turn."""
        platform, built = self._platform, 0
        missing: list[Deployment] = []
        for environment in platform.endpoints.environments():
            if not platform.environments.has(environment):
                missing += platform.endpoints.current(environment)
            elif environment not in self._kept:
                self._keep(environment)
        names = {deployment.id for deployment in missing}
        self._told = {id: line for id, line in self._told.items() if id in names}
        self._refused = {id: until for id, until in self._refused.items() if id in names}
        for deployment in missing:
            if self._stop.is_set():
                raise _Stopped
            if time.monotonic() >= self._refused.get(deployment.id, float("-inf")):
                self._told.setdefault(deployment.id, "It waits for its turn.")
        for deployment in missing:
            if time.monotonic() >= self._refused.get(deployment.id, float("-inf")):
                built += self._try(deployment)
        return built

    def _keep(self, environment: str) -> None:
        """An environment that an earlier release built, or whose lockfile another home forgot."""
        platform = self._platform
        try:
            lockfile = platform.environments.lockfile(environment)
        except NotFound:
            return  # it was removed just now
        platform.lockfiles.keep(lockfile)
        self._kept.add(environment)

    def _try(self, deployment: Deployment) -> bool:
        try:
            self._rebuild(deployment)
        except ModelyardError as error:
            passes = isinstance(error, Unavailable)
            self._refused[deployment.id] = time.monotonic() + (self.EVERY / 2 if passes else self.REFUSED)
            again = "within a minute" if passes else "in an hour"
            self._tell(deployment, f"{error.message} It is tried again {again}.")
            _log.warning("the environment of %s cannot be built: %s", deployment.endpoint, error.message)
            return False
        self._told.pop(deployment.id, None)
        return True

    def _rebuild(self, deployment: Deployment) -> None:
        platform = self._platform
        former = deployment.environment or ""
        version = platform.versions.get(deployment.model, deployment.version)

        def progress(line: str) -> None:
            if self._stop.is_set():
                raise _Stopped
            self._tell(deployment, f"{line[:1].upper()}{line[1:]}.")

        progress("it begins")
        environment, why, other = None, "nothing says which versions it had", None
        if (lockfile := platform.lockfiles.get(former)) is not None:
            try:
                python = asked_python(version, deployment.settings)
                environment = platform.environments.rebuild(lockfile, progress, python=python)
                why = f"the same versions on {environment.interpreter}"
            except Unavailable:
                raise
            except ModelyardError as error:
                why = f"the versions that it had cannot be installed here ({error.message.partition('. ')[0]})"
        if environment is None:
            environment = build(platform.environments, version, deployment.settings, progress)
            why = f"what its requirements are resolved to now: {why}"
            changed = () if lockfile is None else difference(lockfile.lock, environment.lock)
            if changed:
                more = f" and {len(changed) - _TOLD} more" if len(changed) > _TOLD else ""
                why += f": {', '.join(changed[:_TOLD])}{more}"
            if lockfile is None or changed:
                other = f"Its environment was built again, and has {why}."
        platform.environments.compile(environment.id)
        self._move(deployment, environment, why, other)
        _log.info(
            "an environment was built again", extra={"endpoint": deployment.endpoint, "former": former, "id": environment.id, "how": why}
        )  # fmt: skip

    def _move(self, deployment: Deployment, environment: Environment, why: str, other: str | None) -> None:
        """Let the deployment have it, with a word on what is ``other`` in it. When its endpoint went meanwhile nobody needs it."""
        platform = self._platform
        with platform.changes:
            try:
                self._keep(environment.id)
                platform.endpoints.move_to(deployment.id, environment.id, why, other=other)
            except NotFound:
                return
        platform.reconciler.wake()

    def _tell(self, deployment: Deployment, line: str) -> None:
        self._told[deployment.id] = line
        self._platform.changed.notify()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._stop.is_set():
            try:
                self.turn()
            except _Stopped:
                return
            except ModelyardError as error:
                _log.warning("nobody can look at the environments now: %s", error.message)
            except Exception:  # noqa: BLE001 - the edge of a thread that must not end
                if not self._stop.is_set():
                    _log.exception("looking at the environments failed; it is tried again")
            self._stop.wait(self.EVERY)
