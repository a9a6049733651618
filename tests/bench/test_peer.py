"""What the bench starts is stopped again, with all its children, and what does not start says why."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench.peers import PEERS, SEED003
from bench.peers.peer import PROGRAMS, NotStarted, Running, supervised, wait_until_right

from modelyard.host.process import is_alive
from support.node import wait_until

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_server_ends_with_its_block_and_so_do_its_children(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with supervised([sys.executable, "-c", PARENT], dict(os.environ), log):
        wait_until(lambda: log.read_text().endswith("\n"))
        child = int(log.read_text())
        assert is_alive(child)
    wait_until(lambda: not is_alive(child))


def test_a_server_ends_when_the_bench_is_killed(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
from pathlib import Path
from bench.peers.peer import supervised
with supervised([sys.executable, "-c", {PARENT!r}], dict(os.environ), Path({str(tmp_path / "log")!r})):
    time.sleep(600)
"""
    root = Path(__file__).parents[2]
    bench = subprocess.Popen([sys.executable, "-c", code], cwd=root)
    log = tmp_path / "log"
    wait_until(lambda: log.is_file() and log.read_text().endswith("\n"))
    child = int(log.read_text())
    bench.send_signal(signal.SIGKILL)
    bench.wait()
    wait_until(lambda: not is_alive(child))


def test_a_server_that_ends_is_reported_with_what_it_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with supervised(command, dict(os.environ), log) as process:
        running = Running("http://127.0.0.1:1", None, process.pid)
        with pytest.raises(NotStarted, match="no such model"):
            wait_until_right("it", running, lambda _: False, process, log)


@pytest.mark.parametrize("peer", [*PEERS.values(), SEED003], ids=lambda peer: peer.name)
def test_every_peer_has_its_program_and_a_place_for_its_environment(peer) -> None:
    assert (PROGRAMS / peer.program).is_file()
    assert peer.environment is None or PEERS[peer.environment].requirements == peer.requirements
