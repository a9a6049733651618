import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelyard.host.quota import CGROUP_ROOT, Quota

LOOP = "print('begun', flush=True)\nwhile True: pass"


def second(root: Path) -> Path:
    (root / "cgroup.controllers").write_text("cpu memory")
    (root / "cgroup.procs").touch()
    return root


def first(root: Path) -> Path:
    (root / "cpu").mkdir()
    (root / "cpu" / "cgroup.procs").touch()
    return root


def test_of_the_second_version(tmp_path: Path) -> None:
    quota = Quota(second(tmp_path))
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
    group = tmp_path / "modelyard-builds"
    assert (group / "cpu.max").read_text() == "max 5000"
    quota.hold(0.5)
    assert (group / "cpu.max").read_text() == "2500 5000"
    quota.join(77)
    assert (group / "cgroup.procs").read_text() == "77"
    quota.hold(None)
    assert (group / "cpu.max").read_text() == "max 5000"


def test_of_the_first_version(tmp_path: Path) -> None:
    quota = Quota(first(tmp_path))
    group = tmp_path / "cpu" / "modelyard-builds"
    assert (group / "cpu.cfs_quota_us").read_text() == "-1"
    quota.hold(0.01)  # the kernel takes no less than a millisecond
    assert (group / "cpu.cfs_period_us").read_text() == "5000"
    assert (group / "cpu.cfs_quota_us").read_text() == "1000"


def test_what_a_killed_build_left_held_is_let_go(tmp_path: Path) -> None:
    Quota(second(tmp_path)).hold(0.2)
    Quota(tmp_path)
    assert (tmp_path / "modelyard-builds" / "cpu.max").read_text() == "max 5000"


def test_what_another_wrote_meanwhile_is_written_over(tmp_path: Path) -> None:
    quota = Quota(second(tmp_path))
    quota.hold(0.2)
    (tmp_path / "modelyard-builds" / "cpu.max").write_text("max 5000")
    quota.hold(0.2)
    assert (tmp_path / "modelyard-builds" / "cpu.max").read_text() == "1000 5000"


def test_without_groups_nothing_happens(tmp_path: Path) -> None:
    quota = Quota(tmp_path)
    quota.join(77)
    quota.hold(0.2)
    assert not list(tmp_path.iterdir())


def test_a_group_that_may_not_be_written_is_no_error(tmp_path: Path) -> None:
    second(tmp_path)
    (tmp_path / "modelyard-builds").write_text("in the way")  # as for a user to whom the folder is closed
    quota = Quota(tmp_path)
    quota.join(77)
    quota.hold(0.2)
    assert (tmp_path / "modelyard-builds").read_text() == "in the way"


def test_the_kernel_holds_what_is_in_the_group() -> None:
    quota = Quota()
    group = next(
        (each for each in (CGROUP_ROOT / "modelyard-builds", CGROUP_ROOT / "cpu" / "modelyard-builds") if each.is_dir()),
        None,
    )  # fmt: skip
    if group is None:
        pytest.skip("this machine lets nobody of us have a control group")
    with subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE) as process:
        try:
            quota.join(process.pid)
            until = time.monotonic() + 60
            before = throttled(group)
            while throttled(group) == before:  # who else builds on this machine may let it go meanwhile
                quota.hold(None)
                quota.hold(0.2)
                assert time.monotonic() < until
                time.sleep(0.02)
        finally:
            process.kill()
            quota.hold(None)


def throttled(group: Path) -> int:
    words = (group / "cpu.stat").read_text().split()
    return int(words[words.index("nr_throttled") + 1])
