"""What models take of a GPU, as NVML tells it or does not: against a stand-in library with its declarations.

No real driver was asked: what is tried here is our side, the structures as a compiler lays them out, and what
follows from each kind of answer.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from modelyard.core.routes import DeviceStatus, Pool
from modelyard.serve.pool import nvml
from modelyard.serve.pool.device_memory import DeviceMemory
from modelyard.serve.pool.devices import Device
from modelyard.serve.pool.nvml import Gpu, Nvml
from support.models import function_pool
from support.node import NodeProcess, wait_until
from support.zoo import call, settled, states

SOURCE = Path(__file__).parents[2] / "support" / "nvml.c"
UUID = "GPU-00000000-stand-in"
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture(scope="module", params=[3])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    path = folder / nvml.LIBRARY
    version = f"-DVERSION={request.param}"
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", version, "-o", path, SOURCE], check=True)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NVML_FOLDER", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("library", [1, 2, 3], indirect=True)
def test_each_version_of_the_call_is_read(
    library: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "LIBRARY", str(library))
    driver = Nvml.open()
    assert driver is not None
    assert driver.gpus() == [Gpu(0, UUID, "Stand-in", 10**9)]
    assert driver.processes(UUID) == {}
    (folder / "others").write_text("5000")
    me = os.getpid()
    (folder / "processes").write_text(f"{me} 700\n1 40\n{me} 300\n" + "1 1\n" * 20)
    assert driver.used(UUID) == 5000 + 700 + 300 + 40 + 20
    assert driver.processes(UUID) == {me: 1000, 1: 60}
    assert driver.processes("GPU-other") is None
    assert driver.used("GPU-other") is None
    for mode in ("none", "unsupported"):
        (folder / "mode").write_text(mode)
        assert driver.processes(UUID) is None


def test_what_a_process_started_is_its_own(
    library: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "LIBRARY", str(library))
    memory = DeviceMemory([Device("cuda:0", "Stand-in", 10**9, UUID)], None, Nvml.open())
    code = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        try:
            (folder / "processes").write_text(f"{leader.pid} 700\n{child} 30\n{os.getpid()} 1\n1 5\n")
            assert memory.of_process("cuda:0", leader.pid) == 730
            assert memory.of_process("cuda:0", child) == 30
            leader.kill()
            leader.wait()
            assert memory.of_process("cuda:0", leader.pid) == 30, "of its session, though it has ended"
        finally:
            os.kill(child, 9)


def model(folder: Path, shared: Path, name: str, megabytes: int, load: float = 0.0) -> Pool:
    """A model that is said to take memory of the GPU."""
    code = (
        "import os, time\n"
        f"with open({str(shared / 'loads')!r}, 'a') as file:\n    file.write('+')\ntime.sleep({load})\n"
        f"with open({str(shared / 'processes')!r}, 'a') as file:\n"
        f"    file.write(f'{{os.getpid()}} {megabytes * 10**6}\\n')\n"
        f"with open({str(shared / 'loads')!r}, 'a') as file:\n    file.write('-')\n"
        "def predict(x: float):\n    return x + 1\n"
    )
    return msgspec.structs.replace(function_pool(folder / name, code, name=name), memory=megabytes * 10**6)


def device(node: NodeProcess) -> DeviceStatus:
    memory = node.status().memory
    assert memory is not None
    return memory.devices[0]


def node(tmp_path: Path, library: Path) -> NodeProcess:
    return NodeProcess(tmp_path / "home", LD_LIBRARY_PATH=str(library.parent), NVML_FOLDER=str(tmp_path))


def known(node: NodeProcess, name: str) -> tuple[int, str] | None:
    """What a model was measured to take of the GPU, and how."""
    (footprint,) = [pool.footprint for pool in node.status().pools if pool.endpoint == name]
    found = footprint.devices.get("cuda") if footprint is not None else None
    return None if found is None else (found.loaded, found.measured)


@pytest.mark.parametrize("mode", ["all", "foreign", "none", "unsupported"])
def test_models_share_the_gpu_whatever_the_driver_tells(tmp_path: Path, library: Path, mode: str) -> None:
    """Of 920 MB: a first one that finds out how they are measured, then three of which two fit."""
    (tmp_path / "mode").write_text(mode)
    (tmp_path / "others").write_text("100000000")
    first = model(tmp_path, tmp_path, "first", 100)
    three = [model(tmp_path, tmp_path, f"m{number}", 300, load=0.2) for number in range(3)]
    with node(tmp_path, library).serve(first) as running:
        settled(running)
        how = "process" if mode == "all" else "difference"
        if mode == "all" or mode == "foreign":
            assert known(running, "first") == (10**8, how)
        running.serve(first, *three)
        settled(running)
        assert device(running).measured == how
        for name in ("m0", "m1", "m2", "first", "m0"):
            call(running, name)
            assert device(running).used <= device(running).budget == 920_000_000
            assert known(running, name) == (100_000_000 if name == "first" else 300_000_000, how)
        wait_until(lambda: device(running).others == 10**8, what="what others hold")
        if how == "difference":
            events = (tmp_path / "loads").read_text()
            assert "++" not in events, "one at a time"


def test_what_others_hold_of_the_gpu_is_not_given_to_models(tmp_path: Path, library: Path) -> None:
    (tmp_path / "others").write_text("100000000")
    pools = [model(tmp_path, tmp_path, f"m{number}", 300) for number in range(2)]
    with node(tmp_path, library).serve(*pools) as running:
        assert set(settled(running).values()) == {"ready"}
        for name in ("m0", "m1"):
            assert running.post(f"/v2/repository/models/{name}/unload", {})[0] == 200
        wait_until(lambda: device(running).others == 10**8, what="a look")
        (tmp_path / "others").write_text("500000000")
        wait_until(lambda: device(running).others == 5 * 10**8, what="what others hold now")
        for name in ("m0", "m1"):
            call(running, name)
        assert states(running) == {"m0": "asleep", "m1": "ready"}
        (tmp_path / "others").write_text("690000000")
        wait_until(lambda: device(running).others == 69 * 10**7, what="what others hold now")
        status, answer = running.post("/models/m0/predict", {"x": 1.0})
        assert (status, "or other programs" in answer["error"]) == (503, True)
        (tmp_path / "others").write_text("0")
        time.sleep(1.5)
        call(running, "m0")
