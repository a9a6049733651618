"""Collects what nothing uses any more: laid-out versions, environments, blobs, uploads, leftovers."""

import contextlib
import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelyard.control.scrubber import Scrubber
from modelyard.core.errors import Conflict, Unavailable
from modelyard.core.struct import Noun
from modelyard.policy.tiers import evictions, tier

if TYPE_CHECKING:
    from modelyard.control.platform import Platform

_log = logging.getLogger("modelyard.janitor")
_NICE = 5
_LOOK = 0.5  # seconds between two looks whether a deployment is on its way


class Collected(Noun):
    """How many of each were removed. ``versions`` are folders for executors, ``deleted`` versions of models whose
    grace was over (``packs``: or written anew, without what is gone, which gave ``freed`` bytes back; ``cached``:
    files that can be made again), how many blobs were looked at for pieces (``settled``), how many are kept
    smaller from now on (``cooled``), and how many small ones were put together (``gathered``)."""

    uploads: int = 0
    blobs: int = 0
    versions: int = 0
    environments: int = 0
    leftovers: int = 0
    deleted: int = 0
    settled: int = 0
    cooled: int = 0
    gathered: int = 0
    packs: int = 0
    freed: int = 0
    cached: int = 0


class Janitor:
    """Runs hourly, at the start, and when it is woken after a deletion or when there is a new version.

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
        self._deleted = True  # since it was last collected; nobody knows what was before the start
        self._looked_at = 0  # the row of the last version whose blobs were settled
        self._thread: threading.Thread | None = None
        self._turn = threading.RLock()  # two who look at the same blobs would write the same pieces twice
        self.turns = 0  # of its own that are over
        self.scrubber = Scrubber(platform)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)
        self._thread.start()
        self.scrubber.start()

    def wake(self) -> None:
        """Something was deleted."""
        self._deleted = True
        self._wake.set()

    def came(self) -> None:
        """There is a new version."""
        self._wake.set()

    def stop(self) -> None:
        """End without waiting: whatever it does can be cut off anywhere."""
        self._stop.set()
        self._wake.set()
        self.scrubber.stop()

    def _run(self) -> None:
        # Behind whoever waits for an answer; not by much, since it takes the database's lock as well.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._stop.is_set():
            try:
                self._recheck()
                self._work()
            except Unavailable as error:
                self._settled = False
                _log.warning("nothing can be collected now: %s", error.message)
            except Exception:  # noqa: BLE001 - the edge of a thread that must not end
                if not self._stop.is_set():
                    _log.exception("collecting failed; it is tried again in an hour")
            self.turns += 1
            self._deleted = (
                not self._wake.wait(self.EVERY if self._settled else self.AGAIN) or self._deleted
            )
            self._wake.clear()
            self._stop.wait(self.SETTLE)

    def _work(self) -> None:
        if not self._deleted:
            self._settled = True
            self.settle()
            return
        self._deleted = False
        collected = self.collect(settle=True)
        if not self._settled:
            self._deleted = True
        if collected != Collected():
            _log.info("collected", extra=msgspec.to_builtins(collected))

    def _recheck(self) -> None:
        """Scanners may know more than an hour ago."""
        from modelyard.registry.quarantine import recheck

        platform = self._platform
        if recheck(platform.safety, platform.versions, self._stop.is_set):
            platform.reconciler.wake()

    def collect(self, *, settle: bool = False) -> Collected:
        """Remove what nothing uses; safe beside uploads and jobs. With ``settle`` have what is new looked at too. One
        at a time: another waits."""
        with self._turn:
            return self._collect(settle)

    def _collect(self, settle: bool) -> Collected:
        from modelyard.control.environments import clean
        from modelyard.registry.upload import collect_garbage

        platform = self._platform
        uploads = platform.uploads.expire(platform.clock())
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
        deleted = platform.retirement.collect(platform.clock())
        blobs = collect_garbage(platform.blobs, platform.uploads, platform.versions)
        platform.checks.forget()
        platform.lockfiles.forget()
        platform.verdicts.forget(
            platform.versions.referenced_digests() | platform.uploads.referenced_digests()
        )
        settled = self.settle() if settle else 0
        cooled = self._cool() if settle else 0
        gathered = platform.blobs.gather() if settle else 0
        tidied = platform.blobs.tidy()
        return Collected(
            settled=settled,
            cooled=cooled,
            gathered=gathered,
            uploads=uploads,
            blobs=blobs,
            versions=versions,
            environments=environments,
            leftovers=leftovers,
            deleted=deleted,
            packs=tidied.removed + tidied.repacked,
            freed=tidied.freed,
            cached=self._evict(),
        )

    def settle(self) -> int:
        """Have what is new looked at for pieces that are there already; how many blobs that were. Not while a
        deployment is on its way: it reads the same disk."""
        with self._turn:
            return self._settle()

    def _settle(self) -> int:
        platform = self._platform
        count, looked = 0, float("-inf")
        for row, model, number, manifest in platform.versions.manifests(self._looked_at):
            if time.monotonic() - looked > _LOOK:
                if any(platform.jobs.list(1, state) for state in ("queued", "running")):
                    self._settled = False
                    break
                looked = time.monotonic()
            for settled in platform.blobs.settle(manifest):
                count += 1
                if not settled.whole:
                    told = {
                        "model": model,
                        "version": number,
                        "bytes": settled.size,
                        "added": settled.added,
                    }
                    _log.info("kept as pieces", extra=told)
            self._looked_at = row
        return count

    def _cool(self) -> int:
        """Keep what was not used for long as small as it gets."""
        platform, count = self._platform, 0
        for row in platform.pieces.blobs():
            where = tier(
                used=row.used, now=time.time(), size=row.size, cold_after=platform.settings.cold_after
            )
            if self._stop.is_set():
                break
            if row.whole and where == "cold":
                try:
                    cooled = platform.blobs.cool(row.digest.hex())
                except (Conflict, Unavailable) as error:
                    # A disk without room for a pack is no reason to remove nothing.
                    _log.warning("what is cold stays as it is for now: %s", error.message)
                    break
                count += cooled is not None and not cooled.whole
        return count

    def _evict(self) -> int:
        """Keep the cache of blobs within its budget."""
        budget = int(self._platform.settings.blob_cache)
        going = evictions(list(self._platform.blobs.cache.files()), budget)
        for each in going:
            self._platform.blobs.cache.remove(each.sha256)
        return len(going)

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
