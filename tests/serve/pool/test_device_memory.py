"""Models that share the memory of devices: simulated ones, of which a process takes what it takes of the machine."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from modelyard.core.deployment import Resources, Scaling
from modelyard.core.routes import DeviceStatus, Pool
from support.models import function_pool
from support.node import NodeProcess, wait_until
from support.zoo import BALLAST, call, heavy, settled, states, under_load, zoo

TWO = "cpu:0=320MB"  # two models of the zoo, not three: 92 % of it are given to models
ONE = "cpu:0=220MB"


def devices(node: NodeProcess) -> dict[str, DeviceStatus]:
    memory = node.status().memory
    assert memory is not None
    return {device.name: device for device in memory.devices}


def places(node: NodeProcess) -> dict[str, list[str | None]]:
    """The devices of each model's replicas."""
    return {
        pool.endpoint: sorted(replica.device or "" for replica in pool.replicas)
        for pool in node.status().pools
        if pool.replicas
    }


def test_more_models_than_a_device_holds_are_served_each_when_it_is_called(tmp_path: Path) -> None:
    pools = zoo(tmp_path, 4)
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES=TWO).serve(*pools).start() as node:
        found = settled(node)
        assert sorted(found.values()) == ["asleep"] * 2 + ["ready"] * 2
        for name in [*found, *found]:
            call(node, name)
            device = devices(node)["cpu:0"]
            assert BALLAST * 10**6 < device.used <= device.budget == 294_400_000
            memory = node.status().memory
            assert memory is not None and memory.used >= device.used, "a simulated device is in the machine"
        footprint = node.status().pools[0].footprint
        assert footprint is not None
        known = footprint.devices["cpu"]
        assert known.measured == "process"
        assert BALLAST * 10**6 < known.loaded <= known.loading < 1.5 * BALLAST * 10**6
        text = node.call("GET", "/metrics")[2].decode()
        assert 'modelyard_device_budget_bytes{device="cpu:0"} 2.944e+08' in text
        assert 'modelyard_device_used_bytes{device="cpu:0"}' in text


def test_a_model_goes_where_most_is_free_and_its_replicas_apart(tmp_path: Path) -> None:
    pools = zoo(tmp_path, 3)
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES="cpu:0=320MB,cpu:1=420MB") as node:
        for number in range(1, 4):
            node.serve(*pools[:number])
            wait_until(lambda: settled(node) and len(states(node)) == number)  # noqa: B023
        assert places(node) == {"m0": ["cpu:1"], "m1": ["cpu:0"], "m2": ["cpu:1"]}
        both = msgspec.structs.replace(heavy(tmp_path / "both", "both"), replicas=2)
        node.serve(both)
        wait_until(lambda: states(node) == {"both": "ready"}, what="both")
        assert places(node) == {"both": ["cpu:0", "cpu:1"]}


def test_the_one_that_is_called_least_sleeps_whichever_device_it_is_on(tmp_path: Path) -> None:
    pools = zoo(tmp_path, 3)
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES="cpu:0=220MB,cpu:1=220MB") as node:
        node.serve(*pools[:2])
        settled(node)
        for _ in range(20):
            call(node, "m0")
        time.sleep(1.2)  # calls are counted every second
        node.serve(*pools)
        wait_until(lambda: states(node)["m2"] == "ready", what="the third")
        assert states(node) == {"m0": "ready", "m1": "asleep", "m2": "ready"}


def test_a_model_for_the_cpu_takes_nothing_of_a_device(tmp_path: Path) -> None:
    on_device, *others = zoo(tmp_path, 3)
    others = [msgspec.structs.replace(pool, resources=Resources(device="cpu")) for pool in others]
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES=ONE).serve(on_device, *others).start() as node:
        assert set(settled(node).values()) == {"ready"}
        assert devices(node)["cpu:0"].used < 2 * BALLAST * 10**6


def test_where_nothing_on_a_device_may_sleep_a_call_hears_that_at_once(tmp_path: Path) -> None:
    pools = [*zoo(tmp_path, 1, min_replicas=1), heavy(tmp_path / "more", "more")]
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES=TWO).serve(*pools).start() as node:
        settled(node)
        assert node.post("/v2/repository/models/more/unload", {})[0] == 200
        second, third = (heavy(tmp_path / name, name, min_replicas=1) for name in ("second", "third"))
        node.serve(*pools, second)
        wait_until(lambda: states(node).get("second") == "ready", what="the second")
        status, answer = node.post("/models/more/predict", {"x": 1.0})
        assert status == 503
        assert "cpu:0" in answer["error"] and "--device-memory" in answer["error"]
        node.serve(*pools, second, third)
        wait_until(lambda: states(node).get("third") == "failing", what="a word on the third")
        node.serve(pools[1], third)  # m0 and the second are gone
        wait_until(lambda: states(node) == {"more": "asleep", "third": "ready"}, what="room")
        call(node, "more")


def test_a_call_that_cannot_wait_for_a_device_is_told_for_how_long(tmp_path: Path) -> None:
    pools = [heavy(tmp_path / "quick", "quick", load=1.0), heavy(tmp_path / "slow", "slow", seconds=1.2)]
    with (
        NodeProcess(tmp_path / "home", MODELYARD_DEVICES=ONE).serve(*pools).start() as node,
        ThreadPoolExecutor(1) as clients,
    ):
        settled(node)
        call(node, "slow")
        computing = clients.submit(call, node, "slow")
        time.sleep(0.2)
        status, headers, body = node.call(
            "POST", "/models/quick/predict", b'{"x": 1.0}',
            {"content-type": "application/json", "modelyard-timeout": "0.5"},
        )  # fmt: skip
        assert status == 503, body
        assert 1 <= int(headers["retry-after"]) <= 20
        computing.result()
        wait_until(lambda: states(node)["quick"] == "ready", what="the model that was called")


def test_models_under_constant_load_on_a_device_that_holds_one_take_turns(tmp_path: Path) -> None:
    pools = zoo(tmp_path, 2, seconds=0.01)
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES=ONE).serve(*pools).start() as node:
        settled(node)
        assert min(under_load(node, ["m0", "m1"]).values()) > 10


def test_a_model_that_grows_over_a_device_starts_anew_and_the_others_do_not(tmp_path: Path) -> None:
    code = "KEPT = []\ndef predict(x: float):\n    KEPT.append(bytearray(b'x') * int(x * 1e6))\n    return len(KEPT)\n"
    leaking = msgspec.structs.replace(
        function_pool(tmp_path / "leaking", code, name="leaking"),
        scaling=Scaling(min_replicas=1),
        memory=10**8,
    )
    good = heavy(tmp_path / "good", "good", min_replicas=1)
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES=TWO).serve(leaking, good) as node:
        (before,) = node.pids("good")
        (first,) = node.pids("leaking")
        assert node.post("/models/leaking/predict", {"x": 300.0})[0] == 200
        wait_until(lambda: node.pids("leaking") not in ([first], []), what="another process")
        assert node.pids("good") == [before]
        assert "cpu:0 has no memory left" in (tmp_path / "home/logs/models/leaking-1.log").read_text()


@pytest.mark.parametrize("former", [False, True])
def test_a_node_that_starts_again_knows_what_models_take_of_devices(tmp_path: Path, former: bool) -> None:
    node = NodeProcess(tmp_path / "home", MODELYARD_DEVICES=ONE).serve(*zoo(tmp_path, 2))
    with node:
        # One that has answered serves; what it takes is measured a moment later.
        wait_until(
            lambda: settled(node) and all(pool.footprint is not None for pool in node.status().pools),
            what="all to be measured",
        )
    kept = tmp_path / "home/run/learnt/m0-1.json"
    known = json.loads(kept.read_text())
    assert known["footprint"]["devices"]["cpu"]["loaded"] > BALLAST * 10**6
    if former:  # as it was written before devices were counted
        del known["footprint"]["devices"]
        kept.write_text(json.dumps(known))
    with node.start():
        assert sorted(states(node).values()) == ["asleep", "ready"]
        for name in ("m0", "m1", "m0"):
            call(node, name)
            assert devices(node)["cpu:0"].used <= devices(node)["cpu:0"].budget
        footprint = wait_until(
            lambda: next(
                (
                    pool.footprint
                    for pool in node.status().pools
                    if pool.endpoint == "m0" and pool.footprint is not None and pool.footprint.devices
                ),
                None,
            ),
            what="m0 to be measured",
        )
        assert footprint.devices["cpu"].loaded > BALLAST * 10**6


def greedy(
    folder: Path, name: str, *, fails: range, error: str = "OutOfMemoryError", load: float = 0.0
) -> Pool:
    """A model that is out of memory when it is loaded for the n-th time, as PyTorch says it."""
    code = (
        "from pathlib import Path\nclass OutOfMemoryError(RuntimeError): pass\n"
        f"file = Path({str(folder / 'loads')!r})\nfile.write_text(file.read_text() + '.' if file.exists() else '.')\n"
        f"import time\ntime.sleep({load})\nif len(file.read_text()) in {fails}:\n"
        f"    raise {error}('CUDA out of memory. Tried to allocate 20.00 GiB.')\n"
        "def predict(x: float):\n    return x + 1\n"
    )
    pool = function_pool(folder, code, name=name)
    return msgspec.structs.replace(pool, memory=10**7)


def test_others_on_the_device_sleep_for_one_that_was_out_of_memory_when_it_was_loaded(
    tmp_path: Path,
) -> None:
    others = zoo(tmp_path, 2)
    more = greedy(tmp_path / "greedy", "greedy", fails=range(2))
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES="cpu:0=420MB").serve(*others) as node:
        assert set(settled(node).values()) == {"ready"}
        node.serve(*others, more)
        wait_until(lambda: states(node)["greedy"] == "ready", what="the one that was out of memory")
        assert (tmp_path / "greedy/loads").read_text() == ".."
        assert "asleep" in states(node).values()
        for name in ("m0", "m1", "greedy"):  # which is small, now that it is known
            call(node, name)
        assert set(states(node).values()) == {"ready"}


def test_who_may_not_sleep_is_not_stopped_for_one_that_was_out_of_memory(tmp_path: Path) -> None:
    pinned = heavy(tmp_path / "pinned", "pinned", min_replicas=1)
    more = greedy(
        tmp_path / "greedy", "greedy", fails=range(2), load=2.5
    )  # a look at who has grown comes between
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES=TWO).serve(pinned) as node:
        (before,) = node.pids("pinned")
        node.serve(pinned, more)
        wait_until(lambda: states(node)["greedy"] == "ready", what="the one that was out of memory")
        assert node.pids("pinned") == [before]


def test_one_that_was_loaded_before_has_as_much_room_made_as_it_may_lack(tmp_path: Path) -> None:
    others = zoo(tmp_path, 2)
    more = greedy(tmp_path / "greedy", "greedy", fails=range(2, 3))
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES="cpu:0=420MB").serve(*others, more) as node:
        assert set(settled(node).values()) == {"ready"}
        for _ in range(20):
            call(node, "m1")
        time.sleep(1.2)  # calls are counted every second
        assert node.post("/v2/repository/models/greedy/unload", {})[0] == 200
        call(node, "greedy")
        assert (tmp_path / "greedy/loads").read_text() == "..."
        assert states(node) == {"m0": "asleep", "m1": "ready", "greedy": "ready"}, (
            "the one that is called least"
        )


def test_one_that_is_out_of_memory_all_the_same_fails_with_a_sentence(tmp_path: Path) -> None:
    others = zoo(tmp_path, 1)
    more = greedy(tmp_path / "greedy", "greedy", fails=range(99))
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES=TWO).serve(*others) as node:
        settled(node)
        node.serve(*others, more)
        wait_until(lambda: states(node)["greedy"] == "failing", what="a word on it")
        (found,) = [pool for pool in node.status().pools if pool.endpoint == "greedy"]
        assert "cpu:0 has not got the memory that it needs" in (found.failure or "")
        assert "Tried to allocate 20.00 GiB; deploy it with --device cpu" in (found.failure or "")
        call(node, "m0")
        asleep = states(node)["m0"]
        loads = (tmp_path / "greedy/loads").read_text()
        wait_until(lambda: len((tmp_path / "greedy/loads").read_text()) > len(loads), what="another try")
        assert (asleep, states(node)["m0"]) == ("ready", "ready"), "nobody sleeps for it again"


def test_without_a_device_s_memory_one_that_is_out_of_memory_just_fails(tmp_path: Path) -> None:
    others = zoo(tmp_path, 1)
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES="cpu:0").serve(*others) as node:
        settled(node)
        node.serve(*others, greedy(tmp_path / "greedy", "greedy", fails=range(99), error="MemoryError"))
        wait_until(lambda: states(node)["greedy"] == "failing", what="a word on it")
        assert states(node)["m0"] == "ready"
        assert devices(node) == {}


def test_a_budget_that_is_told_holds_and_one_for_a_device_that_is_not_there_is_refused(
    tmp_path: Path,
) -> None:
    settings = {
        "MODELYARD_DEVICES": "cpu:0=500MB,cpu:1",
        "MODELYARD_DEVICE_MEMORY": "cpu:0=170MB,cpu:1=2GB",
    }
    with NodeProcess(tmp_path / "home", **settings).serve(*zoo(tmp_path, 1)).start() as node:
        settled(node)
        found = devices(node)
        assert (found["cpu:0"].budget, found["cpu:1"].budget) == (170_000_000, 2_000_000_000)
        assert places(node) == {"m0": ["cpu:1"]}
    wrong = NodeProcess(
        tmp_path / "other", MODELYARD_DEVICES="cpu:0", MODELYARD_DEVICE_MEMORY="cuda:3=1GiB"
    )
    with pytest.raises(AssertionError, match="told for cuda:3, and this machine has cpu:0"):
        wrong.start()
    assert "Traceback" not in wrong.log()


def test_an_executor_that_dies_while_it_is_loaded_gives_back_what_it_was_to_take(tmp_path: Path) -> None:
    good, dying = zoo(tmp_path, 2)
    (tmp_path / "m1" / "model.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES=ONE).serve(dying).start(wait=False) as node:
        wait_until(lambda: states(node) == {"m1": "failing"}, what="a word on it")
        assert devices(node)["cpu:0"].used == 0
        node.serve(dying, good)
        wait_until(lambda: states(node)["m0"] == "ready", what="the good one")
