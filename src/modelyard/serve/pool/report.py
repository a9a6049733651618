"""What others see of a pool: the control plane its status, a scrape of the metrics its gauge."""

from typing import TYPE_CHECKING

from modelyard.core.routes import PoolState, PoolStatus
from modelyard.serve.observe.metrics import PoolGauge

if TYPE_CHECKING:
    from modelyard.serve.pool.pool import Pool


def status(pool: "Pool") -> PoolStatus:
    """What the control plane sees."""
    residence = pool.residence
    return PoolStatus(
        deployment=pool.spec.deployment,
        endpoint=pool.spec.endpoint,
        state=_state(pool),
        footprint=residence.footprint,
        replicas=tuple(replica.status() for replica in residence.replicas),
        signature=pool.signature,
        failure=pool.failure or residence.crowded,
        queued=len(pool.queue),
        apart=pool.apart,
    )


def _state(pool: "Pool") -> PoolState:
    residence = pool.residence
    if pool.draining:
        return "draining"
    if pool.unbuilt:
        return "starting"  # it has not been tried
    if pool.failing or residence.crowded is not None:
        return "failing"
    if pool.serving:
        return "ready"
    if residence.owed or not residence.proven or residence.state == "awake":
        return "starting"  # the first time, or again after its processes died
    return "waking" if residence.state == "waking" or len(pool.queue) else "asleep"


def gauge(pool: "Pool") -> PoolGauge:
    """What a scrape of the metrics sees."""
    replicas = [replica.status() for replica in pool.residence.replicas]
    if hurried := pool.queue.scheduler.hurried:
        pool.metrics.steps["no_wait"] = hurried
    return PoolGauge(
        pool.spec.endpoint,
        pool.spec.deployment,
        len(pool.queue),
        sum(replica.state == "ready" for replica in replicas),
        sum(replica.memory or 0 for replica in replicas),
        pool.busy,
    )
