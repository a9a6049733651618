"""The accelerators of this machine, found without a framework: by NVML, else by ``nvidia-smi``, else none.

``MODELYARD_DEVICES`` stands in for them in tests: "cpu:0,cpu:1,…" are simulated devices, on each of which
an executor computes on the CPU like on any other. It cannot name a real one: a framework would be lied to.
"cpu:0=300MB" has a memory, of which an executor is said to take what its process takes of the machine's:
that counts in both.

``CUDA_VISIBLE_DEVICES``:
https://docs.nvidia.com/cuda/cuda-c-programming-guide/#env-vars.
"""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final, NamedTuple

from modelyard.core.errors import InvalidInput
from modelyard.core.units import parse_bytes
from modelyard.serve.pool.nvml import Gpu, Nvml

log = logging.getLogger("modelyard.devices")

VARIABLE: Final = "MODELYARD_DEVICES"


class Device(NamedTuple):
    """``name`` is "cuda:" and what CUDA_VISIBLE_DEVICES calls it, or "cpu:" and a number (simulated).
    ``memory`` in bytes, 0 where it is not known; ``uuid`` is the driver's name for it."""

    name: str
    model: str
    memory: int
    uuid: str = ""


def detect() -> tuple[Device, ...]:
    """The devices that executors of this node may use, () when there is only the CPU.

    Raises InvalidInput for a stand-in that is not understood.
    """
    if (stand_in := os.environ.get(VARIABLE)) is not None:
        return simulated(stand_in)
    return visible(_from_nvml() or _from_program(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def simulated(names: str) -> tuple[Device, ...]:
    """The devices of the stand-in: distinct names ``cpu:N``, or ``cpu:N=SIZE``; of an empty text none."""
    found: dict[str, Device] = {}
    for part in names.split(",") if names.strip() else []:
        name, has_memory, size = (piece.strip() for piece in part.partition("="))
        if not re.fullmatch(r"cpu:\d{1,3}", name) or name in found:
            raise InvalidInput(
                f"{VARIABLE} has {name!r}; it takes different simulated devices, like cpu:0,cpu:1 or cpu:0=300MB.",
                field=VARIABLE,
            )
        found[name] = Device(name, "simulated", parse_bytes(size, field=VARIABLE) if has_memory else 0)
    return tuple(found.values())


def visible(gpus: Sequence[Gpu], chosen: str | None) -> tuple[Device, ...]:
    """The GPUs that ``CUDA_VISIBLE_DEVICES`` (None: not set) leaves to this node, named as it names them.

    As CUDA reads it: entries are numbers or beginnings of UUIDs, and the first that means no device ends
    the list. Numbers are taken in the order of the driver.
    """
    if chosen is None:
        return tuple(Device(f"cuda:{gpu.number}", gpu.model, gpu.memory, gpu.uuid) for gpu in gpus)
    found: list[Device] = []
    for entry in (part.strip() for part in chosen.split(",")):
        if entry.isascii() and entry.isdigit():
            fitting = [gpu for gpu in gpus if gpu.number == int(entry)]
        elif entry.startswith("GPU-"):
            fitting = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
        else:
            fitting = []
        name = f"cuda:{entry}"
        if len(fitting) != 1 or any(device.name == name for device in found):
            break
        found.append(Device(name, fitting[0].model, fitting[0].memory, fitting[0].uuid))
    return tuple(found)


def _from_nvml() -> list[Gpu]:
    """By the driver's library; none when there is no driver, or it does not answer."""
    nvml = Nvml.open()
    return [] if nvml is None else nvml.gpus()


def _from_program() -> list[Gpu]:
    """By ``nvidia-smi``, for machines where the library is not where the loader looks."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = [program, "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("nvidia-smi does not answer; no GPU is used", extra={"error": str(error)})
        return []
    return listed(done.stdout)


def listed(text: str) -> list[Gpu]:
    """The lines of ``nvidia-smi``: index, UUID, name, MiB. A line that says something else is left out."""
    gpus: list[Gpu] = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and parts[0].isdigit() and parts[3].isdigit():
            gpus.append(Gpu(int(parts[0]), parts[1], parts[2], int(parts[3]) * 2**20))
    return gpus
