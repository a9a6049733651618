"""Limits: the mechanism that a machine has, and processes that really run into it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.serve.pool.limits import CGROUP_ROOT, Limits, sweep

HOARD = "import sys; groups = sys.stdin.readline().split(); [open(each, 'w').write('0') for each in groups]; hoard = bytearray(300 * 2**20); print(len(hoard))"
LIMIT = 64 * 2**20


def hoarder(limit: Limits) -> subprocess.CompletedProcess[str]:
    """A process that takes 300 MiB once it is under ``limit``."""
    with subprocess.Popen(
        [sys.executable, "-c", HOARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        limit.apply(process.pid)
        out, err = process.communicate(" ".join(limit.groups) + "\n")
        return subprocess.CompletedProcess([], process.returncode, out, err)


def test_without_a_limit_nothing_is_limited() -> None:
    limit = Limits("free", None)
    assert "memory" not in limit.held
    assert hoarder(limit).stdout.strip() == str(300 * 2**20)


def test_where_no_control_group_can_be_had_an_rlimit_holds(tmp_path: Path) -> None:
    limit = Limits("replica", LIMIT, root=tmp_path)
    assert limit.held["memory"] == "RLIMIT_DATA"
    done = hoarder(limit)
    assert done.returncode != 0
    assert "MemoryError" in done.stderr
    assert not limit.exceeded()


def test_a_control_group_holds_and_tells_that_it_had_to() -> None:
    limit = Limits("tests-of-limits", LIMIT)
    if not limit.held["memory"].startswith("cgroup"):
        pytest.skip("this machine lets us make no control group")
    try:
        done = hoarder(limit)
        assert done.returncode == -9
        assert limit.exceeded()
    finally:
        limit.close()
    assert not list(CGROUP_ROOT.glob(f"*/modelyard/{os.getpid()}.tests-of-limits"))


def test_the_unified_hierarchy_is_written_as_the_kernel_wants_it(tmp_path: Path) -> None:
    """Files as of cgroup v2 (https://docs.kernel.org/admin-guide/cgroup-v2.html); no kernel behind them."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    limit = Limits("replica", LIMIT, root=tmp_path)
    group = tmp_path / "modelyard" / f"{os.getpid()}.replica"
    assert limit.held == {"memory": "cgroup v2", "processes": "cgroup v2"}
    assert (group / "memory.max").read_text() == str(LIMIT)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert not limit.exceeded()
    (group / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n")
    assert limit.exceeded()


def test_what_a_killed_node_left_is_swept(tmp_path: Path) -> None:
    groups = tmp_path / "memory" / "modelyard"
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    for owner in (ended.pid, os.getpid(), os.getppid()):
        (groups / f"{owner}.replica").mkdir(parents=True)
    sweep(tmp_path)
    # What lies under our own number was left by one who had it before us; the third one lives.
    assert [group.name for group in groups.iterdir()] == [f"{os.getppid()}.replica"]
