"""What models may take of devices: the budget that is told, within what there is and what others leave."""

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.serve.pool.device_memory import DeviceMemory
from modelyard.serve.pool.devices import Device

GPUS = [
    Device("cuda:0", "NVIDIA L4", 24 * 10**9, "GPU-a"),
    Device("cuda:1", "NVIDIA L4", 24 * 10**9, "GPU-b"),
]


def test_by_default_it_is_a_part_of_what_the_driver_says() -> None:
    assert DeviceMemory(GPUS).budgets == {"cuda:0": 22_080_000_000, "cuda:1": 22_080_000_000}
    assert DeviceMemory([Device("cpu:0", "simulated", 0)]).budgets == {}, "of which nothing is known"


def test_what_is_told_holds_for_each_or_for_some_and_never_for_more_than_there_is() -> None:
    assert DeviceMemory(GPUS, "20GB").budgets == {"cuda:0": 20 * 10**9, "cuda:1": 20 * 10**9}
    assert DeviceMemory(GPUS, "cuda:1=80GB").budgets == {"cuda:0": 22_080_000_000, "cuda:1": 24 * 10**9}
    assert DeviceMemory([], "20GB").budgets == {}
    with pytest.raises(InvalidInput, match="told for cuda:2, and this machine has cuda:0, cuda:1"):
        DeviceMemory(GPUS, "cuda:2=1GB")


def test_others_take_of_the_device_first_and_of_the_budget_then() -> None:
    memory = DeviceMemory(GPUS, "20GB")
    assert (memory.others("cuda:0"), memory.limit("cuda:0")) == (None, 20 * 10**9)
    memory.seen("cuda:0", 11 * 10**9, 8 * 10**9)
    assert (memory.others("cuda:0"), memory.limit("cuda:0")) == (3 * 10**9, 20 * 10**9)
    memory.seen("cuda:0", 15 * 10**9, 8 * 10**9)
    assert memory.limit("cuda:0") == 17 * 10**9
    memory.seen("cuda:0", 2 * 10**9, 8 * 10**9)  # they take less than they did
    assert (memory.others("cuda:0"), memory.limit("cuda:1")) == (0, 20 * 10**9)


def test_without_the_driver_s_library_nothing_is_measured_and_the_framework_is_believed() -> None:
    memory = DeviceMemory(GPUS)
    assert memory.measured("cuda:0") == "framework"
    assert not memory.alone("cuda:0")
    assert (memory.look(), memory.of_process("cuda:0", 1), memory.loaded("cuda:0", 1, 1, 0)) == (
        {},
        None,
        None,
    )
