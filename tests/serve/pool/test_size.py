"""What counts for a model: what it takes, and what it said that it will take once it has computed for long."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.policy.placement import Seat
from modelyard.policy.residency import MACHINE
from modelyard.serve.pool.device_memory import DeviceMemory
from modelyard.serve.pool.learnt import Learnt
from modelyard.serve.pool.size import Size
from support.models import mlp_pool

LATER = 10**12  # bytes, more than anything else here


@dataclass
class Copy:
    """A replica as its size sees it; the process is this one."""

    growth: int = 0
    id: str = "mlp-1-0"
    pid: int = os.getpid()
    answered: bool = True
    state: str = "ready"
    device_bytes: int | None = None
    seat: Seat = field(default_factory=lambda: Seat("cpu", None, 1))

    def offspring(self) -> list[int]:
        return []


def loaded(tmp_path: Path) -> tuple[Size, Any, Learnt]:
    learnt = Learnt(tmp_path / "learnt.json", "0" * 64)
    return Size(mlp_pool(tmp_path), learnt, DeviceMemory()), Copy(), learnt


def test_what_a_model_foretold_counts_from_when_it_is_near_and_not_before(tmp_path: Path) -> None:
    size, replica, _ = loaded(tmp_path)
    assert asyncio.run(size.weigh(replica, [replica], 1.0))
    assert 0 < size.takes([replica], awake=True)[MACHINE] < LATER
    replica.growth = LATER
    assert size.takes([replica], awake=True)[MACHINE] > LATER


def test_what_it_foretold_is_not_taken_for_what_its_next_load_takes(tmp_path: Path) -> None:
    size, replica, learnt = loaded(tmp_path)
    asyncio.run(size.weigh(replica, [replica], 1.0))
    replica.growth = LATER
    size.measured(asyncio.run(size.look([replica])), 1e12)
    assert size.needs(["cpu"])[MACHINE] < LATER
    assert learnt.footprint is not None
    assert learnt.footprint.most < LATER
    assert size.grown(MACHINE, [replica]) < 0  # it is nobody who has grown unforeseen


def test_it_is_looked_at_once_when_it_was_loaded(tmp_path: Path) -> None:
    size, replica, _ = loaded(tmp_path)
    assert not size.seen
    asyncio.run(size.weigh(replica, [replica], 1.0))
    assert size.seen
    size.ended()
    assert not size.seen


def test_what_is_read_of_a_replica_that_is_stopped_meanwhile_is_not_learnt(tmp_path: Path) -> None:
    size, replica, learnt = loaded(tmp_path)

    async def stopped_while_it_is_weighed() -> bool:
        weighing = asyncio.create_task(size.weigh(replica, [replica], 1.0))
        await asyncio.sleep(0)  # its process is being read
        replica.state = "stopping"
        return await weighing

    assert not asyncio.run(stopped_while_it_is_weighed())
    assert learnt.footprint is None and not size.seen
