"""NVML, the driver's own library: which GPUs there are, what is used of each, and by which processes.

https://docs.nvidia.com/deploy/nvml-api/; the structures are those of its ``nvml.h``.
"""

import ctypes
import logging
from typing import Any, Final, NamedTuple

log = logging.getLogger("modelyard.devices")

LIBRARY: Final = "libnvidia-ml.so.1"
_INSUFFICIENT_SIZE: Final = 7  # NVML_ERROR_INSUFFICIENT_SIZE
_NOT_AVAILABLE: Final = 2**64 - 1  # NVML_VALUE_NOT_AVAILABLE: what WDDM says of every process
_TRIES: Final = 5  # between two calls more processes may have begun


class Gpu(NamedTuple):
    """What the driver says of one GPU. ``number`` is NVML's: the order of the PCI bus."""

    number: int
    uuid: str
    model: str
    memory: int


class _Memory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class _ProcessInfo1(ctypes.Structure):
    """nvmlProcessInfo_v1_t."""

    _fields_ = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong)]


class _ProcessInfo2(ctypes.Structure):
    """nvmlProcessInfo_v2_t, which the third version of the call takes too."""

    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


_PROCESSES: Final = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", _ProcessInfo2),
    ("nvmlDeviceGetComputeRunningProcesses_v2", _ProcessInfo2),
    ("nvmlDeviceGetComputeRunningProcesses", _ProcessInfo1),
)


class Nvml:
    """The library, started. It may be called from any thread; a call takes a millisecond or less as a rule."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._handles: dict[str, ctypes.c_void_p] = {}

    @classmethod
    def open(cls) -> "Nvml | None":
        """None when there is no driver, or it does not answer."""
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError:
            return None
        if library.nvmlInit_v2() != 0:
            log.warning("NVML is installed but does not start; no GPU is used")
            return None
        return cls(library)

    def gpus(self) -> list[Gpu]:
        """All that answer."""
        count = ctypes.c_uint()
        if self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return []
        found: list[Gpu] = []
        for index in range(count.value):
            handle, memory = ctypes.c_void_p(), _Memory()
            uuid, model = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
            asked = (
                self._library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
                or self._library.nvmlDeviceGetUUID(handle, uuid, 96)
                or self._library.nvmlDeviceGetName(handle, model, 96)
                or self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
            )
            if asked != 0:
                log.warning("a GPU does not answer; it is not used", extra={"index": index, "nvml": asked})
                continue
            self._handles[uuid.value.decode()] = handle
            found.append(Gpu(index, uuid.value.decode(), model.value.decode(), int(memory.total)))
        return found

    def used(self, uuid: str) -> int | None:
        """Bytes of a GPU's memory that are not free, whoever holds them; None when it does not answer."""
        handle, memory = self._handle(uuid), _Memory()
        if handle is None or self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != 0:
            return None
        return int(memory.total - memory.free)

    def processes(self, uuid: str) -> dict[int, int] | None:
        """Bytes that each process takes of a GPU, by its id where the driver sees it (in a container that may
        be another one than here); None where the driver does not tell."""
        handle = self._handle(uuid)
        for name, info in _PROCESSES:
            ask = getattr(self._library, name, None)
            if handle is not None and ask is not None:
                return _processes(ask, info, handle)
        return None

    def _handle(self, uuid: str) -> ctypes.c_void_p | None:
        if uuid not in self._handles:
            handle = ctypes.c_void_p()
            if self._library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)) != 0:
                return None
            self._handles[uuid] = handle
        return self._handles[uuid]


def _processes(
    ask: Any, info: type[_ProcessInfo1] | type[_ProcessInfo2], handle: ctypes.c_void_p
) -> dict[int, int] | None:
    count = ctypes.c_uint(0)
    status = ask(handle, ctypes.byref(count), None)
    for _ in range(_TRIES):
        if status == 0 and count.value == 0:
            return {}
        if status not in (0, _INSUFFICIENT_SIZE):
            return None
        count = ctypes.c_uint(count.value + 8)
        found = (info * count.value)()
        status = ask(handle, ctypes.byref(count), found)
        if status == 0:
            told = [(int(each.pid), int(each.used)) for each in found[: count.value]]
            sizes: dict[int, int] = {}
            for pid, size in told:  # one that has several contexts may be there more than once
                sizes[pid] = sizes.get(pid, 0) + size
            return None if any(size == _NOT_AVAILABLE for _, size in told) else sizes
    return None
