"""Claims jobs, gives each a thread, keeps their leases, and records how they end."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from modelyard.core.errors import Cancelled, Internal, ModelyardError, Unavailable
from modelyard.core.job import Job
from modelyard.deploy.signal import Signal
from modelyard.pipeline.run import Run, Stopped
from modelyard.store.database import DatabaseAway
from modelyard.store.jobs import Jobs
from modelyard.store.owner import claim_of

_log = logging.getLogger("modelyard.runner")

Work = Callable[[Run], dict[str, Any]]


class Runner:
    """Runs the jobs of one database in this process.

    ``kinds`` maps a job's kind to what does it and returns its result. A job whose owner has died is
    claimed like a new one; the work sees from its Run what is done already. ``notify`` is called with
    a job's id after each of its events; ``changed`` is what its stages wait on. ``clock`` is that of the
    database where several processes go by it: their leases are compared.
    """

    LEASE = 30.0  # seconds; renewed three times within
    LIMIT = 64  # jobs at a time; most of them wait for something else

    def __init__(
        self,
        jobs: Jobs,
        kinds: Mapping[str, Work],
        *,
        owner: str,
        notify: Callable[[str], None],
        changed: Signal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._kinds = kinds
        self._owner = owner
        self._notify = notify
        self._changed = changed
        self._clock = clock
        self._wake = threading.Event()
        self._stop = False
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[Run, threading.Thread]] = {}
        self._dropped: set[str] = set()  # claims that ended because the database was away
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start claiming."""
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There may be a new job."""
        self._wake.set()

    def running(self) -> list[str]:
        """Ids of the jobs that run in this process now."""
        with self._lock:
            return list(self._runs)

    def stop(self, timeout: float = 4.0) -> None:
        """Let every job go within ``timeout`` seconds; they stay claimable and resume later."""
        deadline = time.monotonic() + timeout
        self._stop = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)  # first: a job that it is just claiming must be let go as well
        with self._lock:
            runs = list(self._runs.values())
        for run, _ in runs:
            run.stop()
        self._changed.notify()
        for _, thread in runs:
            thread.join(max(0.0, deadline - time.monotonic()))
        try:
            self._jobs.release_all(self._owner)
        except Unavailable as error:  # their leases run out instead
            _log.warning("the jobs under way could not be let go: %s", error.message)

    def _loop(self) -> None:
        renewed = 0.0
        waits = False
        while True:
            self._wake.clear()
            if self._stop:  # looked at after the clearing: its waking is never lost
                return
            try:
                now = self._clock()
                if abs(now - renewed) >= self.LEASE / 3:
                    self._renew(now)
                    renewed = now
                self._release_dropped()
                while not self._stop and len(self.running()) < self.LIMIT:
                    owner = claim_of(self._owner)
                    job = self._jobs.claim(owner, self._clock(), self.LEASE)
                    if job is None:
                        break
                    self._begin(job, owner)
                waits = False
            except Unavailable as error:  # a full disk passes, a server comes back
                if not waits:
                    _log.warning("no job can be claimed: %s", error.message)
                waits = True
            except Exception:  # noqa: BLE001 - the edge of a thread that must not end
                _log.exception("claiming jobs failed; it is tried again")
            self._wake.wait(1.0)

    def _renew(self, now: float) -> None:
        with self._lock:
            runs = [run for run, _ in self._runs.values()]
        for run in runs:
            if not self._jobs.renew(run.job.id, run.owner, now, self.LEASE):
                run.stop()

    def _release_dropped(self) -> None:
        for owner in list(self._dropped):
            self._jobs.release_all(owner)
            self._dropped.discard(owner)

    def _begin(self, job: Job, owner: str) -> None:
        run = Run(job, self._jobs, owner, self._notify)
        thread = threading.Thread(target=self._work, args=(run,), name=f"job-{job.id}", daemon=True)
        with self._lock:
            self._runs[job.id] = run, thread
        thread.start()

    def _work(self, run: Run) -> None:
        job = run.job
        try:
            self._finish(run)
        except Stopped:
            _log.info("job %s is let go; it resumes later", job.id)
        except DatabaseAway as error:
            _log.warning("job %s waits for the database: %s", job.id, error.message)
            self._dropped.add(run.owner)
        except Exception:  # noqa: BLE001 - not even its failure could be recorded: the lease runs out
            _log.exception("job %s was lost", job.id)
        finally:
            with self._lock:
                held = self._runs.get(job.id)
                if held is not None and held[0] is run:  # it may have been claimed again meanwhile
                    del self._runs[job.id]
            self._notify(job.id)
            self._wake.set()

    def _finish(self, run: Run) -> None:
        job = run.job
        try:
            work = self._kinds.get(job.kind)
            if work is None:
                raise Internal(f"Nothing here can run a job of the kind {job.kind!r}.")
            result = work(run)
        except (Stopped, DatabaseAway):
            raise
        except Cancelled:
            _log.info("job %s was cancelled", job.id)
        except ModelyardError as error:
            _log.info("job %s failed: %s", job.id, error.message)
            self._fail(run, error)
        except Exception as error:  # noqa: BLE001 - the edge of the job: whatever it was, it is told
            _log.exception("job %s failed by a fault of ours", job.id)
            failure = Internal(
                f"The job failed by a fault of Modelyard ({type(error).__name__}: {error}); "
                f"logs/control.log has the details under {job.id}."
            )
            self._fail(run, failure)
        else:
            run.kept(lambda: self._jobs.finish(job.id, result, owner=run.owner))

    def _fail(self, run: Run, error: ModelyardError) -> None:
        id = run.job.id
        run.kept(lambda: self._jobs.fail(id, error.body(id), owner=run.owner))
