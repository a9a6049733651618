"""The memory of this node's devices: how much of each models may take, what they take, what others hold."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from modelyard.core.errors import InvalidInput
from modelyard.core.routes import Measured
from modelyard.core.settings import device_budgets
from modelyard.host.memory import proportional_bytes
from modelyard.host.process import belongs
from modelyard.serve.pool.devices import Device
from modelyard.serve.pool.nvml import Nvml

log = logging.getLogger("modelyard.devices")

# Of a device's memory. The rest is for what is not counted as a model's: what the driver keeps for itself, and
# holes that allocators leave; unlike the machine's, it has no swap: what does not fit fails.
PART: Final = 0.92
GREW: Final = 16 * 2**20  # bytes by which a device is more used when somebody has begun to compute on it
_FIRST_NAMESPACE: Final = (
    "pid:[4026531836]"  # of process ids, the machine's own: PROC_PID_INIT_INO of Linux
)


class DeviceMemory:
    """``budgets``: bytes of each device whose memory is known that models may take; by the name of the device.

    What a process takes is asked of NVML. Where that does not tell it (it knows other process ids than
    those of this container, or none), it is the *difference* of what is used of the device before the
    process began and after its first answer, which holds only while nothing else is loaded there: see
    :meth:`alone`. Of a simulated device an executor takes what its process takes of the machine.

    Methods that ask NVML may be called from any thread; they take milliseconds.

    Raises InvalidInput when ``told`` (the setting) names a device that is not there.
    """

    def __init__(
        self, devices: Sequence[Device] = (), told: int | str | None = None, nvml: Nvml | None = None
    ) -> None:
        self._devices = {each.name: each for each in devices}
        self._nvml = nvml
        self._others: dict[str, int] = {}  # bytes, as of the latest look
        asked = {} if told is None else device_budgets(told)
        if isinstance(asked, int):
            asked = dict.fromkeys(self._devices, asked)
        if missing := sorted(asked.keys() - self._devices.keys()):
            there = ", ".join(self._devices) or "the CPU alone"
            raise InvalidInput(
                f"device_memory is told for {missing[0]}, and this machine has {there}.",
                field="device_memory",
            )
        self.budgets: dict[str, int] = {}
        for name, device in self._devices.items():
            wanted = asked.get(name, int(device.memory * PART))
            if device.memory and wanted > device.memory:
                log.warning(
                    "a device has less memory than it was to give",
                    extra={"device": name, "told": wanted, "has": device.memory},
                )
                wanted = device.memory
            if wanted:
                self.budgets[name] = wanted
        first: Measured = "process" if _sees_all_processes() else "difference"
        self._measured: dict[str, Measured] = {
            name: "process" if _simulated(name) else "framework" if nvml is None else first
            for name in self.budgets
        }

    def measured(self, device: str) -> Measured:
        """How it is known what a model takes of ``device``."""
        return self._measured[device]

    def alone(self, device: str) -> bool:
        """Whether models have to be loaded there one at a time, to be measured."""
        return self._measured.get(device) == "difference"

    def model(self, device: str) -> str:
        """What the driver calls it."""
        return self._devices[device].model

    def limit(self, device: str) -> float:
        """What models may take of it together: their budget, or what others leave if that is less."""
        budget, has = self.budgets[device], self._devices[device].memory
        return min(budget, has - self._others.get(device, 0)) if has else budget

    def others(self, device: str) -> int | None:
        """Bytes that somebody else holds; None while that is not known."""
        return self._others.get(device)

    def look(self) -> dict[str, int]:
        """Bytes that are used of each device, whoever holds them; of those that tell it."""
        found = {name: self.used(name) for name in self.budgets}
        return {name: size for name, size in found.items() if size is not None}

    def seen(self, device: str, used: int, models: float) -> None:
        """``used`` bytes of ``device``, of which ``models`` are those of this node's models."""
        self._others[device] = max(0, used - int(models))

    def used(self, device: str) -> int | None:
        """Bytes that are used of ``device``, whoever holds them; None where that is not told."""
        if self._nvml is None or _simulated(device):
            return None
        return self._nvml.used(self._devices[device].uuid)

    def of_process(self, device: str, pid: int) -> int | None:
        """Bytes that a process and all that it started take of ``device``; None where that is not told."""
        if _simulated(device):
            return proportional_bytes(pid)
        if self._nvml is None:
            return None
        told = self._nvml.processes(self._devices[device].uuid)
        if told is None:
            self._measure_by("difference", device, "the driver does not tell what a process takes")
            return None
        size = sum(size for other, size in told.items() if belongs(other, pid))
        if size:
            self._measure_by("process", device, "the driver tells what a process takes")
        return size if size or not self.alone(device) else None

    def loaded(self, device: str, pid: int, copies: int, before: int | None) -> int | None:
        """Bytes that a copy takes of ``device`` when all ``copies`` there have answered, of which ``pid`` is one.
        ``before`` is what was used before they began, if nothing else began or ended there since.
        None where it cannot be told."""
        size = self.of_process(device, pid)
        if size or before is None:
            return size
        used = self.used(device)
        if used is None:
            return size
        grown = max(0, used - before)
        if size is not None and grown >= GREW:
            # Somebody takes memory there, and it is none of the processes that the driver names.
            self._measure_by("difference", device, "the driver does not name the processes of this node")
        return grown // copies if self.alone(device) else size

    def _measure_by(self, how: Measured, device: str, why: str) -> None:
        if self._measured[device] != how:
            log.info(
                "what models take of a device is measured otherwise",
                extra={"device": device, "by": how, "why": why},
            )
            self._measured[device] = how


def kind_of(device: str) -> str:
    """What devices of one kind have in common: "cuda", or "cpu" for simulated ones."""
    return device.partition(":")[0]


def _simulated(device: str) -> bool:
    return kind_of(device) == "cpu"


def _sees_all_processes() -> bool:
    """Whether process ids here are the machine's own, which are those that the driver knows."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == _FIRST_NAMESPACE
    except OSError:
        return False
