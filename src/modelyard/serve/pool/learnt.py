"""What a deployment has learnt of its devices, kept on disk: a node that starts again knows it at once."""

import asyncio
import functools
import logging
import math
import time
from pathlib import Path
from typing import Any

import msgspec

from modelyard.core.routes import Footprint
from modelyard.core.signature import Signature
from modelyard.host.files import write_whole
from modelyard.policy.latency import LatencyModel
from modelyard.policy.scheduler import Scheduler
from modelyard.serve.pool.frames import Cost

log = logging.getLogger("modelyard.learnt")

EVERY = 30.0  # seconds between two writings


@functools.lru_cache(256)
def _one(cost: Cost) -> Cost:
    """Equal ones as one object: most of a thousand models have the same."""
    return cost


class _File(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    tried: float
    ceiling: float | None
    devices: dict[str, dict[str, object]]
    footprint: Footprint | None = None
    awake: bool = False
    signature: Signature | None = None
    cost: Cost | None = None
    compared: bool = False
    apart: str | None = None


class Learnt:
    """The laws by device, the largest padded cost that was computed, and the one that memory allows; the
    ``footprint`` of a replica (None: it never served), whether the deployment was ``awake``, and what
    its executor last said of ``signature`` and ``cost``; whether calls alone and together were ``compared``,
    and why they are computed ``apart`` if they are.

    Belongs to one version (``digest``): what was learnt of another is not read. A file that cannot be
    read or written costs nothing but the knowledge, and a line in the log.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.models: dict[str, LatencyModel] = {}
        self.tried = 0.0
        self.ceiling = math.inf
        self.footprint: Footprint | None = None
        self.awake = False
        self.signature: Signature | None = None
        self.cost: Cost | None = None
        self.compared = False
        self.apart: str | None = None
        self._place = str(path)  # a Path takes five times as much
        self._digest = digest
        self._written = time.monotonic()
        self._dirty = False
        self._writing: asyncio.Task[None] | None = None
        self._load()

    @property
    def _path(self) -> Path:
        return Path(self._place)

    def _load(self) -> None:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            log.warning(
                "what was learnt cannot be read", extra={"path": str(self._path), "error": str(error)}
            )
            return
        if kept.digest == self._digest:
            for name, saved in kept.devices.items():
                try:
                    self.models[name] = LatencyModel.load(saved)
                except ValueError as error:
                    log.warning(
                        "a device's law is learnt anew", extra={"device": name, "error": str(error)}
                    )
            self.footprint, self.awake = kept.footprint, kept.awake
            self.signature = kept.signature
            self.cost = None if kept.cost is None else _one(kept.cost)
            self.compared, self.apart = kept.compared, kept.apart
            self.tried = max(0.0, kept.tried)
            self.ceiling = math.inf if kept.ceiling is None else max(1.0, kept.ceiling)

    def keep(self, scheduler: Scheduler[Any], *, now: bool = False) -> None:
        """Write what is known, every EVERY seconds at most (at once with ``now``), beside the loop."""
        if not now and time.monotonic() - self._written < EVERY:
            return
        self._dirty = True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(scheduler))

    async def _write_all(self, scheduler: Scheduler[Any]) -> None:
        while self._dirty:  # again, when something was learnt while it was written
            self._dirty = False
            self._written = time.monotonic()
            await asyncio.to_thread(self._write, self._content(scheduler))

    def save(self, scheduler: Scheduler[Any]) -> None:
        """Write what is known, now."""
        self._write(self._content(scheduler))

    def _content(self, scheduler: Scheduler[Any]) -> bytes:
        return msgspec.json.encode(
            _File(
                digest=self._digest,
                tried=scheduler.tried,
                ceiling=None if scheduler.ceiling == math.inf else scheduler.ceiling,
                devices={name: model.save() for name, model in self.models.items() if model.batches},
                footprint=self.footprint,
                awake=self.awake,
                signature=self.signature,
                cost=self.cost,
                compared=self.compared,
                apart=self.apart,
            )
        )

    def _write(self, content: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, content)
        except OSError as error:
            log.warning(
                "what was learnt cannot be kept", extra={"path": str(self._path), "error": str(error)}
            )
