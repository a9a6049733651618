"""What was learnt of devices, read again: also where it is of another version, or rubbish."""

import json
import math
from pathlib import Path

import pytest

from modelyard.policy.latency import LatencyModel
from modelyard.policy.scheduler import Limits, Scheduler
from modelyard.serve.pool.learnt import Learnt


def saved(path: Path) -> None:
    learnt = Learnt(path, "digest")
    model = LatencyModel()
    for size in range(1, 20):
        model.observe(size, 0, size, 1e-3 + 1e-4 * size)
    learnt.models["cpu:0"] = learnt.models["cuda:0"] = model
    scheduler = Scheduler(Limits(8, 8))
    scheduler.tried, scheduler.ceiling = 19.0, 64.0
    learnt.save(scheduler)


def test_what_was_kept_is_known_again(tmp_path: Path) -> None:
    saved(tmp_path / "kept")
    again = Learnt(tmp_path / "kept", "digest")
    assert (again.tried, again.ceiling) == (19.0, 64.0)
    assert again.models["cpu:0"].predict(10) == pytest.approx(2e-3, rel=0.01)
    other = Learnt(tmp_path / "kept", "another version")
    assert (other.models, other.tried, other.ceiling) == ({}, 0.0, math.inf)


def test_a_law_of_another_form_is_learnt_anew_and_what_memory_allows_is_kept(tmp_path: Path) -> None:
    saved(tmp_path / "kept")
    kept = json.loads((tmp_path / "kept").read_text())
    del kept["devices"]["cuda:0"]["evidence"]
    (tmp_path / "kept").write_text(json.dumps(kept))
    again = Learnt(tmp_path / "kept", "digest")
    assert (again.tried, again.ceiling, list(again.models)) == (19.0, 64.0, ["cpu:0"])


@pytest.mark.parametrize("rubbish", [b"", b"\xff", b"[]", b'{"digest": 1}'])
def test_rubbish_is_nothing_learnt(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "kept").write_bytes(rubbish)
    again = Learnt(tmp_path / "kept", "digest")
    assert (again.models, again.tried) == ({}, 0.0)
