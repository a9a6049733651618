"""Models that share the node's memory: who is there, who sleeps, who wakes, and that no call is lost by it."""

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from modelyard.core.deployment import Scaling
from support.models import function_pool
from support.node import NodeProcess, wait_until
from support.zoo import BALLAST, call, heavy, settled, states, under_load, zoo

BUDGET = "420MB"  # the node itself and three such models, not four


def test_more_models_than_memory_are_served_each_when_it_is_called(tmp_path: Path) -> None:
    pools = zoo(tmp_path, 5)
    with NodeProcess(tmp_path / "home", MODELYARD_MEMORY=BUDGET).serve(*pools).start() as node:
        found = settled(node)
        assert sorted(found.values()) == ["asleep"] * 2 + ["ready"] * 3
        for name in [*found, *found]:
            call(node, name)
            memory = node.status().memory
            assert memory.used <= memory.budget == 420_000_000
            assert memory.awake + memory.asleep <= 5
        assert node.get("/ready")[0] == 200
        text = node.call("GET", "/metrics")[2].decode()
        assert 'modelyard_models{state="asleep"} 2.0' in text
        assert float(text.partition("\nmodelyard_evictions_total ")[2].split()[0]) >= 4


def test_only_so_many_load_at_a_time(tmp_path: Path) -> None:
    """Thirty that start at once on two cores would each take fifteen times as long."""
    code = (
        f"import time\nfile = open({str(tmp_path / 'loads')!r}, 'a')\nfile.write('+')\nfile.flush()\n"
        "time.sleep(0.3)\nfile.write('-')\nfile.close()\ndef predict(x: float):\n    return x + 1\n"
    )
    pools = [function_pool(tmp_path / f"m{number}", code, name=f"m{number}") for number in range(12)]
    with NodeProcess(tmp_path / "home").serve(*pools) as node:
        settled(node)
        events = (tmp_path / "loads").read_text()
        assert events.count("+") == 12
        most = max(events[:end].count("+") - events[:end].count("-") for end in range(25))
        assert 2 <= most <= max(4, len(os.sched_getaffinity(0)))


def test_fifty_first_calls_to_a_sleeping_model_load_it_once(tmp_path: Path) -> None:
    pool = heavy(tmp_path / "m", "m", load=0.3)
    with NodeProcess(tmp_path / "home").serve(pool) as node, ThreadPoolExecutor(50) as clients:
        assert node.post("/v2/repository/models/m/unload", {})[0] == 200
        assert states(node) == {"m": "asleep"}
        list(clients.map(lambda x: call(node, "m", x), range(50)))
        assert (tmp_path / "m" / "loads").read_text() == ".."
        assert "modelyard_cold_starts_total" in node.call("GET", "/metrics")[2].decode()


def test_calls_that_race_with_eviction_are_all_answered(tmp_path: Path) -> None:
    chance = random.Random(7)
    pools = zoo(tmp_path, 5)
    names = [chance.choice(pools).endpoint for _ in range(150)]
    with (
        NodeProcess(tmp_path / "home", MODELYARD_MEMORY=BUDGET).serve(*pools).start() as node,
        ThreadPoolExecutor(6) as clients,
    ):
        settled(node)
        list(clients.map(lambda name: call(node, name), names))


def test_models_under_constant_load_that_do_not_fit_together_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = zoo(tmp_path, 2, seconds=0.01)
    with NodeProcess(tmp_path / "home", MODELYARD_MEMORY="230MB").serve(*pools).start() as node:
        settled(node)
        assert min(under_load(node, ["m0", "m1"]).values()) > 10


def test_where_nothing_may_sleep_a_call_hears_that_at_once(tmp_path: Path) -> None:
    pools = [*zoo(tmp_path, 2, min_replicas=1), heavy(tmp_path / "more", "more")]
    with NodeProcess(tmp_path / "home", MODELYARD_MEMORY=BUDGET).serve(*pools).start() as node:
        settled(node)
        assert node.post("/v2/repository/models/more/unload", {})[0] == 200
        assert node.post("/v2/repository/models/m0/unload", {})[0] == 409
        fourth, fifth = (heavy(tmp_path / name, name, min_replicas=1) for name in ("fourth", "fifth"))
        node.serve(*pools, fourth)
        wait_until(lambda: states(node).get("fourth") == "ready", what="the fourth")
        status, answer = node.post("/models/more/predict", {"x": 1.0})
        assert status == 503
        assert "--min-replicas 0" in answer["error"]
        node.serve(*pools, fourth, fifth)
        wait_until(
            lambda: states(node).get("fifth") == "failing", what="a word on the one that has no room"
        )
        node.serve(*pools[1:], fifth)  # m0 and the fourth are gone
        wait_until(lambda: states(node) == {"m1": "ready", "more": "asleep", "fifth": "ready"}, what="room")
        call(node, "more")


def test_a_call_that_cannot_wait_is_told_for_how_long_and_the_model_is_loaded_all_the_same(
    tmp_path: Path,
) -> None:
    pools = [heavy(tmp_path / "quick", "quick", load=1.0), heavy(tmp_path / "slow", "slow", seconds=1.2)]
    with (
        NodeProcess(tmp_path / "home", MODELYARD_MEMORY="230MB").serve(*pools).start() as node,
        ThreadPoolExecutor(1) as clients,
    ):
        settled(node)
        for name in ("slow", "quick", "slow"):
            call(node, name)  # how long a load of the quick one takes again is known from now on
        computing = clients.submit(call, node, "slow")
        wait_until(
            lambda: any(pool.endpoint == "slow" and node.get("/ready") for pool in node.status().pools)
        )
        time.sleep(0.2)
        status, headers, body = node.call(
            "POST", "/models/quick/predict", b'{"x": 1.0}',
            {"content-type": "application/json", "modelyard-timeout": "0.5"},
        )  # fmt: skip
        assert status == 503, body
        assert 1 <= int(headers["retry-after"]) <= 20
        computing.result()
        wait_until(lambda: states(node)["quick"] == "ready", what="the model that was called")
        call(node, "quick")


def test_a_model_that_nobody_calls_sleeps_and_wakes(tmp_path: Path) -> None:
    pool = heavy(tmp_path / "m", "m", idle_timeout=0.5)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        wait_until(lambda: states(node) == {"m": "asleep"}, what="sleep")
        assert node.get("/v2/models/m/ready")[0] == 200
        assert node.get("/v2/models/m")[0] == 200
        call(node, "m")
        footprint = node.status().pools[0].footprint
        assert BALLAST * 10**6 < footprint.loaded < 2 * BALLAST * 10**6
        assert footprint.loading >= footprint.loaded


@pytest.mark.parametrize("killed", [False, True])
def test_a_node_that_starts_again_has_in_memory_what_it_had(tmp_path: Path, killed: bool) -> None:
    node = NodeProcess(tmp_path / "home").serve(*zoo(tmp_path, 2))
    with node:
        assert node.post("/v2/repository/models/m0/unload", {})[0] == 200
        wait_until(
            lambda: '"awake":false' in (tmp_path / "home/run/learnt/m0-1.json").read_text(),
            what="a note of it",
        )
        if killed:
            node.kill()
    with node.start():
        assert states(node) == {"m0": "asleep", "m1": "ready"}
        call(node, "m0")


def test_a_sleeping_model_is_called_although_only_its_executor_knew_what_it_takes(tmp_path: Path) -> None:
    pool = heavy(tmp_path / "m", "m")
    unknown = msgspec.structs.replace(pool, signature=None)
    with NodeProcess(tmp_path / "home").serve(unknown) as node:
        assert node.post("/v2/repository/models/m/unload", {})[0] == 200
    with node.start():
        assert states(node) == {"m": "asleep"}
        assert node.status().pools[0].signature == pool.signature
        call(node, "m")


def test_a_model_that_cannot_be_loaded_again_says_so_and_others_go_on(tmp_path: Path) -> None:
    pools = zoo(tmp_path, 2)
    with NodeProcess(tmp_path / "home").serve(*pools) as node:
        assert node.post("/v2/repository/models/m0/unload", {})[0] == 200
        (tmp_path / "m0" / "model.py").write_text("raise OSError('its weights are gone')")
        status, answer = node.post("/models/m0/predict", {"x": 1.0})
        assert (status, "weights are gone" in answer["error"]) == (503, True)
        call(node, "m1")


def test_a_model_that_grows_over_the_budget_starts_anew_and_the_others_do_not(tmp_path: Path) -> None:
    code = "KEPT = []\ndef predict(x: float):\n    KEPT.append(bytearray(b'x') * int(x * 1e6))\n    return len(KEPT)\n"
    leaking = msgspec.structs.replace(
        function_pool(tmp_path / "leaking", code, name="leaking"), scaling=Scaling(min_replicas=1)
    )
    good = heavy(tmp_path / "good", "good", min_replicas=1)
    with NodeProcess(tmp_path / "home", MODELYARD_MEMORY=BUDGET).serve(leaking, good) as node:
        (before,) = node.pids("good")
        (first,) = node.pids("leaking")
        assert node.post("/models/leaking/predict", {"x": 400.0})[0] == 200
        wait_until(lambda: node.pids("leaking") not in ([first], []), what="another process")
        assert node.pids("good") == [before]
        assert (
            node.post("/models/leaking/predict", {"x": 1.0})[1]["output"] <= 2
        )  # its first call was the canary
        assert "used up" in node.log()


def test_what_a_model_has_started_counts_as_its_own(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\nKEPT = []\n"
        "TAKES = 'import time; kept = bytearray(b\"x\") * 400_000_000; print(flush=True); time.sleep(600)'\n"
        "def predict(x: float):\n"
        "    if x > 1:\n"
        "        KEPT.append(subprocess.Popen([sys.executable, '-S', '-c', TAKES], stdout=subprocess.PIPE))\n"
        "        KEPT[-1].stdout.readline()\n"
        "    return len(KEPT)\n"
    )
    pool = msgspec.structs.replace(
        function_pool(tmp_path / "m", code, name="m"), scaling=Scaling(min_replicas=1)
    )
    with NodeProcess(tmp_path / "home", MODELYARD_MEMORY=BUDGET).serve(pool) as node:
        (first,) = node.pids("m")
        assert node.post("/models/m/predict", {"x": 2.0})[0] == 200
        wait_until(lambda: node.pids("m") not in ([first], []), what="another process")
        assert "used up" in node.log()


def test_one_long_call_that_takes_more_and_more_is_ended(tmp_path: Path) -> None:
    """Nobody else calls it meanwhile."""
    code = (
        "import time\ndef predict(x: float):\n    kept = []\n"
        "    while x > 1:\n        kept.append(bytearray(b'x') * 20_000_000)\n        time.sleep(0.3)\n"
        "    return x\n"
    )
    pool = function_pool(tmp_path / "m", code, name="m", timeout=60.0)
    with NodeProcess(tmp_path / "home", MODELYARD_MEMORY=BUDGET).serve(pool) as node:
        status, answer = node.post("/models/m/predict", {"x": 2.0})
        assert (status, "it grew by" in answer["error"]) == (500, True), answer
        assert "used up" in node.log()
        assert node.post("/models/m/predict", {"x": 1.0}) == (200, {"output": 1.0})


def test_what_a_model_grows_to_right_after_its_first_answer_is_known_before_it_wakes_again(
    tmp_path: Path,
) -> None:
    """As one does that answers first and packs its weights then."""
    code = (
        "import threading\nkept = []\n"
        "def grow():\n    kept.append(bytearray(b'x') * 60_000_000)\n"
        "def predict(x: float):\n    if not kept:\n        threading.Timer(0.3, grow).start()\n    return x\n"
    )
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        found = wait_until(
            lambda: (
                (seen := node.status().pools[0].footprint) and seen.most > seen.loaded + 50_000_000 and seen
            )
        )
        node.post("/v2/repository/models/function/unload", {})
        assert node.post("/predict", {"x": 1.0})[0] == 200
        again = wait_until(lambda: node.status().pools[0].footprint)
        assert again.most >= found.most - 10_000_000


def test_a_model_that_cannot_be_loaded_tries_again_only_where_nobody_needs_the_memory(
    tmp_path: Path,
) -> None:
    """It takes two thirds of the budget before it fails, and nobody could know that."""
    code = (
        "import os, time\n"
        f"file = open({str(tmp_path / 'tries')!r}, 'a')\nfile.write('+')\nfile.flush()\n"
        "kept = bytearray(b'x') * 280_000_000\ntime.sleep(3)\nfile.write('-')\nfile.flush()\n"
        "raise RuntimeError('no weights')\ndef predict(x: float):\n    return x\n"
    )
    failing = function_pool(tmp_path / "failing", code, name="failing")
    pools = zoo(tmp_path, 4)
    with NodeProcess(tmp_path / "home", MODELYARD_MEMORY=BUDGET).serve(*pools).start() as node:
        settled(node)
        node.serve(*pools, failing)
        wait_until(lambda: states(node)["failing"] == "failing", what="a word on it")
        tries = tmp_path / "tries"
        wait_until(lambda: tries.read_text().count("+") >= 2, what="another try")
        for _ in range(8):
            for pool in pools:  # they do not fit together: one of them has to be loaded each time
                call(node, pool.endpoint)
        begun, ended = (tries.read_text().count(sign) for sign in "+-")
        assert begun > ended, "none was ended before it had failed"
        assert node.post("/models/failing/predict", {"x": 1.0})[0] == 503


def was_slow(home: Path, *names: str) -> None:
    """Have a node that starts there believe that these models took a thousand seconds to load, once."""
    for name in names:
        learnt = home / "run" / "learnt" / f"{name}-1.json"
        kept = json.loads(learnt.read_text())
        kept["footprint"]["seconds"] = 1000.0
        learnt.write_text(json.dumps(kept | {"awake": False}))


def test_a_call_waits_for_a_model_that_was_slow_to_load_once(tmp_path: Path) -> None:
    """The machine was busy, or nothing was imported yet: nobody knows that it will take as long again."""
    home = tmp_path / "home"
    with NodeProcess(home).serve(heavy(tmp_path / "m", "m")) as node:
        pass
    was_slow(home, "m")
    with node.start():
        assert states(node) == {"m": "asleep"}
        call(node, "m")


def test_a_call_waits_for_room_although_models_were_slow_to_load_once(tmp_path: Path) -> None:
    """Who computes now need not do so for as long as its turn may last."""
    home = tmp_path / "home"
    pools = [heavy(tmp_path / "busy", "busy", seconds=2.0), heavy(tmp_path / "m", "m")]
    with NodeProcess(home, MODELYARD_MEMORY="230MB").serve(*pools).start() as node:
        settled(node)
    was_slow(home, "busy", "m")
    with node.start(), ThreadPoolExecutor(2) as clients:
        calls = [clients.submit(call, node, "busy") for _ in range(2)]
        wait_until(
            lambda: any(pool.state == "ready" and pool.queued for pool in node.status().pools),
            what="one that computes while the other waits",
        )
        call(node, "m")
        for each in calls:
            each.result()
