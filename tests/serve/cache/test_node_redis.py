"""Nodes with a Redis between them: they share what they computed, and none depends on it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.cache.counted import Counted, counting_pool
from support.node import NodeProcess, wait_until
from support.redis import RedisProcess

BUDGET = "60.0"  # long, so that a busy machine is not taken for a slow Redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path / "redis") as process:
        yield process


def node_of(folder: Path, model: Path, url: str, budget: str = BUDGET, **serving: object) -> NodeProcess:
    return NodeProcess(folder, MODELYARD_REDIS_URL=url, MODELYARD_REDIS_BUDGET=budget).serve(
        counting_pool(model, **serving)
    )


def test_what_one_node_computed_the_other_one_answers(redis: RedisProcess, tmp_path: Path) -> None:
    model = tmp_path / "m"
    with node_of(tmp_path / "a", model, redis.url) as one, node_of(tmp_path / "b", model, redis.url) as two:
        here, there = Counted(one, model), Counted(two, model)
        for counted in (here, there):
            wait_until(lambda counted=counted: counted.metric("modelyard_redis_up") == 1)
        answers = [here.ask({"x": float(x)}) for x in range(20)]
        wait_until(lambda: len(redis.keys()) == 20)
        before = here.computed()
        assert there.ask({"x": 0.0}) == ("hit", answers[0][1])
        said, batch = there.ask({"records": [{"x": float(x)} for x in range(20)]}, "/predict/batch")
        assert (said, batch["predictions"]) == ("hit", [answer for _, answer in answers])
        assert here.computed() == before
        assert there.metric('modelyard_cache_fetched_total{endpoint="function"}') == 20
        assert there.ask({"x": 5.0}, cache_control="no-cache")[1] != answers[5][1]


def test_a_redis_that_hangs_delays_nobody_for_long(redis: RedisProcess, tmp_path: Path) -> None:
    model = tmp_path / "m"
    with node_of(tmp_path / "a", model, redis.url, budget="0.02") as node:
        counted = Counted(node, model)
        wait_until(lambda: counted.metric("modelyard_redis_up") == 1)
        redis.stall()
        for x in range(20):
            assert counted.ask({"x": float(x)})[0] == "miss"
        records = [{"x": float(x)} for x in range(100, 120)]
        assert counted.ask({"records": records}, "/predict/batch")[0] == "miss"
        assert counted.metric("modelyard_redis_up") == 0
        assert counted.metric('modelyard_redis_failures_total{reason="late"}') == 3
        assert counted.ask({"x": 0.0})[0] == "hit"
        redis.go_on()


def test_a_redis_that_is_away_or_does_not_know_us_costs_no_call(tmp_path: Path) -> None:
    with RedisProcess(tmp_path / "redis", "--requirepass", "right") as redis:
        url = f"redis://:hunter2@localhost:{redis.port}"
        with node_of(tmp_path / "a", tmp_path / "m", url) as node:
            counted = Counted(node, tmp_path / "m")
            assert counted.ask({"x": 1.0})[0] == "miss"
            assert counted.ask({"x": 1.0})[0] == "hit"
            wait_until(lambda: "WRONGPASS" in node.log())
            redis.stop()
            assert counted.ask({"x": 2.0})[0] == "miss"
            assert "hunter2" not in node.log()


def test_a_wrong_address_ends_the_node_with_a_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "modelyard.serve"],
        env={
            "PATH": os.environ["PATH"],
            "MODELYARD_HOME": str(tmp_path),
            "MODELYARD_REDIS_URL": "http://:hunter2@x",
        },
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "redis://[user:password@]host" in ended.stderr
    assert "hunter2" not in ended.stderr
