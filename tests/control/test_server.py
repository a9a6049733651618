"""The process: its lock, its address, its end."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from modelyard.control.server import check
from modelyard.core.errors import Conflict, InvalidInput
from modelyard.core.settings import Settings
from modelyard.host.lock import ProgramLock


def test_it_announces_the_port_it_took_and_stops_on_sigterm(start: Callable) -> None:
    process = start().wait()
    assert httpx.get(process.url + "/health", timeout=60).status_code == 200
    assert process.stop() == 0


def test_it_stops_also_while_somebody_follows_a_job(start: Callable, upload) -> None:
    process = start().wait()
    files = {"model.py": b"def predict(x: float) -> float:\n    return x\n"}
    body = {"endpoint": "e", "upload": upload(process.http, files)}
    job = process.http.post("/api/v1/deployments", json=body).json()["id"]  # waits for a node for ever
    with process.http.stream("GET", f"/api/v1/jobs/{job}/events") as stream:
        lines = stream.iter_lines()
        while "does not answer" not in next(lines):
            pass
        assert process.stop() == 0
        assert not [line for line in lines if "failed" in line]


def test_a_second_control_plane_on_the_same_home_ends_with_a_sentence(start: Callable) -> None:
    first = start().wait()
    url = (first.home / "run" / "control.url").read_text()
    (first.home / "run" / "keep").write_text(url)
    second = start()
    assert second.process.wait(120) == 1
    assert f"process {first.process.pid}" in second.log.read_text()
    assert "modelyard down" in second.log.read_text()
    assert httpx.get(url + "/health", timeout=60).status_code == 200


def test_after_a_kill_the_next_one_starts_at_once(start: Callable) -> None:
    start().wait().kill()
    assert httpx.get(start().wait().url + "/ready", timeout=60).json() == {"status": "ready"}


def test_an_address_in_use_is_told(start: Callable) -> None:
    first = start().wait()
    port = first.url.rpartition(":")[2]
    other = type(first)(first.home.parent / "other", MODELYARD_CONTROL_PORT=port)
    assert other.process.wait(120) == 1
    assert "cannot listen" in other.log.read_text()


def test_its_log_is_json_lines(start: Callable) -> None:
    process = start().wait()
    process.http.get("/api/v1/models")
    process.stop()
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    assert any(line.get("path") == "/api/v1/models" and line["status"] == 200 for line in lines)


def test_home_and_keys_are_for_this_user_alone(start: Callable) -> None:
    home = start().wait().home
    for path, mode in ((home / "key", 0o600), (home / "run" / "node.key", 0o600)):
        assert path.stat().st_mode & 0o777 == mode


def test_it_is_small_when_idle(start: Callable) -> None:
    process = start().wait()
    memory = process.http.get("/api/v1/status").json()["control"]["memory"]
    assert memory < 110 * 1000**2, f"{memory / 1e6:.0f} MB"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.org", "::"])
def test_an_open_address_needs_authentication(host: str) -> None:
    with pytest.raises(InvalidInput, match="authentication"):
        check(Settings(home="/x", control_host=host))
    check(Settings(home="/x", control_host=host, authentication=True))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "::1"])
def test_loopback_needs_none(host: str) -> None:
    check(Settings(home="/x", control_host=host))


def test_a_lock_is_free_again_when_its_holder_let_it_go(tmp_path: Path) -> None:
    lock = ProgramLock(tmp_path / "run", "control")
    lock.acquire()
    assert ProgramLock(tmp_path / "run", "control").holder() == os.getpid()
    with pytest.raises(Conflict, match=str(os.getpid())):
        ProgramLock(tmp_path / "run", "control").acquire()
    lock.release()
    assert ProgramLock(tmp_path / "run", "control").holder() is None
