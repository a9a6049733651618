"""Devices: found by the driver's own tools, as far as CUDA_VISIBLE_DEVICES lets us, else simulated."""

import os
from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput
from modelyard.serve.pool import devices
from modelyard.serve.pool.devices import Gpu, detect, listed, simulated, visible

GPUS = [Gpu(index, f"GPU-{index}f00-aa", "NVIDIA L4", 24 * 2**30) for index in range(4)]


@pytest.mark.parametrize("count", [0, 1, 4, 8])
def test_simulated_devices_stand_in(count, monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, ",".join(f"cpu:{number}" for number in range(count)))
    assert [device.name for device in detect()] == [f"cpu:{number}" for number in range(count)]


def test_a_simulated_device_may_have_a_memory():
    assert [(each.name, each.memory) for each in simulated("cpu:0=300MB, cpu:1=1GiB,cpu:2")] == [
        ("cpu:0", 300_000_000),
        ("cpu:1", 2**30),
        ("cpu:2", 0),
    ]
    with pytest.raises(InvalidInput, match="size"):
        simulated("cpu:0=much")


@pytest.mark.parametrize("names", ["cuda:0=1GB", "cpu:0=1GB,cpu:0"])
def test_a_memory_makes_no_device_of_what_is_none(names):
    with pytest.raises(InvalidInput, match="simulated devices"):
        simulated(names)


@pytest.mark.parametrize("names", ["cuda:0", "cpu", "cpu:0,cpu:0", "cpu:0;cpu:1", "cpu:-1"])
def test_a_stand_in_that_would_lie_or_is_not_understood_is_refused(names):
    with pytest.raises(InvalidInput, match="simulated devices"):
        simulated(names)


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (None, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        ("", []),
        ("-1", []),
        ("2,0", ["cuda:2", "cuda:0"]),
        ("1, 3", ["cuda:1", "cuda:3"]),
        ("0,9,1", ["cuda:0"]),
        ("0,0", ["cuda:0"]),
        ("NoDevFiles", []),
        ("GPU-3f00,1", ["cuda:GPU-3f00", "cuda:1"]),
        ("GPU-", []),
    ],
)
def test_the_visible_devices_are_those_that_cuda_would_see(chosen, names):
    assert [device.name for device in visible(GPUS, chosen)] == names


def test_the_lines_of_nvidia_smi_are_read_and_rubbish_is_not():
    text = "0, GPU-8a, NVIDIA H100 80GB HBM3, 81559\n1, GPU-9b, NVIDIA L4, [N/A]\nNo devices were found\n"
    assert listed(text) == [Gpu(0, "GPU-8a", "NVIDIA H100 80GB HBM3", 81559 * 2**20)]


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "nvidia-smi"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_machine_with_the_program_alone_is_asked_through_it(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "echo '0, GPU-8a, NVIDIA L4, 23034'\n")
    names = [device.name for device in detect()]
    assert names[:1] == ["cuda:0"]


def test_a_program_that_fails_means_no_device(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "echo 'NVIDIA-SMI has failed' >&2\nexit 9\n")
    monkeypatch.setattr(devices, "_from_nvml", list)
    assert detect() == ()
