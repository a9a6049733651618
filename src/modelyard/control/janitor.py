"""Collects what nothing uses any more: laid-out versions, environments, blobs, uploads, leftovers."""

import contextlib
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelyard.core.errors import Unavailable
from modelyard.core.struct import Noun

if TYPE_CHECKING:
    from modelyard.control.platform import Platform

_log = logging.getLogger("modelyard.janitor")


class Collected(Noun):
    """How many of each were removed."""

    uploads: int = 0
    blobs: int = 0
    versions: int = 0
    environments: int = 0
    leftovers: int = 0


class Janitor:
    """Runs hourly, at the start, and when it is woken after a deletion.

    A folder is in use while an endpoint wants or serves it, while the node has a pool of it (draining
    ones too), and while a job is under way. When the node does not answer nobody knows which
    replicas live, so versions and environments stay. An environment stays for ``environment_grace``
    after its last use: building it again costs more than its place on the disk.
    """

    EVERY = 3600.0
    AGAIN = 60.0  # when it could not be told what is in use
    SETTLE = 5.0  # seconds after a deletion, in which the node drains what was deleted

    def __init__(self, platform: "Platform") -> None:
        self._platform = platform
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._settled = True
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something was deleted."""
        self._wake.set()

    def stop(self) -> None:
        """End without waiting: whatever it does can be cut off anywhere."""
        self._stop.set()
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._recheck()
                collected = self.collect()
                if collected != Collected():
                    _log.info("collected", extra=msgspec.to_builtins(collected))
            except Exception:  # noqa: BLE001 - the edge of a thread that must not end
                if not self._stop.is_set():
                    _log.exception("collecting failed; it is tried again in an hour")
            if self._wake.wait(self.EVERY if self._settled else self.AGAIN):
                self._wake.clear()
                self._stop.wait(self.SETTLE)

    def _recheck(self) -> None:
        """Scanners may know more than an hour ago."""
        from modelyard.registry.quarantine import recheck

        platform = self._platform
        if recheck(platform.safety, platform.versions, self._stop.is_set):
            platform.reconciler.wake()

    def collect(self) -> Collected:
        """Remove what nothing uses; safe beside uploads and jobs."""
        from modelyard.control.environments import clean
        from modelyard.registry.upload import collect_garbage

        platform = self._platform
        uploads = platform.uploads.expire(time.time())
        leftovers = platform.blobs.sweep() + platform.environments.sweep()
        versions = environments = 0
        with contextlib.suppress(Unavailable):  # the versions' turn says that it could not be told
            environments = len(clean(platform, older_than=platform.settings.environment_grace).removed)
        # A deployment is created under the same lock, and a job that is under way keeps all.
        with platform.changes:
            used = self._in_use()
            self._settled = used is not None
            if used is not None:
                for folder in self._laid_out():
                    if folder.name not in used:
                        remove_folder(folder)
                        versions += 1
        blobs = collect_garbage(platform.blobs, platform.uploads, platform.versions)
        platform.verdicts.forget(
            platform.versions.referenced_digests() | platform.uploads.referenced_digests()
        )
        return Collected(
            uploads=uploads, blobs=blobs, versions=versions, environments=environments, leftovers=leftovers
        )

    def _laid_out(self) -> list[Path]:
        return [path for path in sorted(self._platform.home.versions.iterdir()) if path.is_dir()]

    def _in_use(self) -> set[str] | None:
        """The digests of versions in use; None when that is not known or about to change."""
        platform = self._platform
        status = platform.node_status()
        if status is None:
            return None
        if any(platform.jobs.list(1, state) for state in ("queued", "running")):
            return None
        wanted = {
            id for endpoint in platform.endpoints.list() for id in (endpoint.wanted, endpoint.serving)
        }
        wanted |= {pool.deployment for pool in status.pools}
        digests: set[str] = set()
        known = {deployment.id: deployment for deployment in platform.endpoints.deployments()}
        for pool in status.pools:
            if pool.deployment not in known:
                # Of an endpoint that was deleted and still drains: its version cannot be told.
                return None
        for deployment in known.values():
            if deployment.id in wanted:
                digests.add(platform.versions.get(deployment.model, deployment.version).digest)
        return digests


def remove_folder(folder: Path) -> None:
    """Remove a laid-out version: out of its name first, so that it is whole or not there."""
    removed = folder.with_name(f".removed-{folder.name}")
    shutil.rmtree(removed, ignore_errors=True)
    folder.rename(removed)
    shutil.rmtree(removed)
