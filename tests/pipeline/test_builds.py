"""The environment of a deployment: killed at any instant of its build, taken away at any instant, refused."""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from modelyard.control import doctor
from modelyard.core.settings import Home
from modelyard.package.environment import Environments
from support.interpreters import another, minor

pytestmark = pytest.mark.timeout(600)

# Enough files that a build has a middle.
PACKAGES = ("scipy", "networkx")
PINS = ["24.0", "24.1", "24.2", "23.2"]  # of packaging: each is another environment


def descendants(pid: int) -> list[int]:
    """The processes that ``pid`` started, and theirs."""
    children: dict[int, list[int]] = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            after_name = each.read_text().rpartition(")")[2].split()
            children.setdefault(int(after_name[1]), []).append(int(each.parent.name))
    found, open_ones = [], [pid]
    while open_ones:
        own = children.get(open_ones.pop(), [])
        found += own
        open_ones += own
    return found


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def model(function, pin: str, packages: Sequence[str] = PACKAGES) -> dict[str, bytes]:
    body = f"import {', '.join((*packages, 'packaging'))}; return x + 1"
    lines = [*packages, f"packaging=={pin}"]
    return function(body) | {"requirements.txt": "\n".join(lines).encode()}


def building(running, seconds: float = 60.0) -> list[int]:
    """The processes of uv, waited for."""
    control = running.processes["control"].pid
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := [pid for pid in descendants(control) if _is_uv(pid)]:
            return found
        time.sleep(0.002)
    raise AssertionError(running.logs())


def _is_uv(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].endswith(b"/uv")
    except OSError:
        return False


def nothing_half(running) -> None:
    root = running.home / "environments"
    running.wait(lambda: not list(root.glob(".building-*")) and not list(root.glob(".locks/*")))


def test_a_build_killed_at_any_instant_is_resumed_and_whole(running, function) -> None:
    chance = random.Random(22)
    begin = time.monotonic()
    running.deploy("e", model(function, "25.0"))
    whole = time.monotonic() - begin
    for pin in PINS:
        job = running.submit("e", model(function, pin))
        time.sleep(chance.uniform(0.0, whole))
        control = running.processes["control"].pid
        # uv too, or not: then it goes on by itself, and the next control plane waits for its lock.
        with_uv = chance.random() < 0.6
        tree = descendants(control) if with_uv else []
        running.kill("control")
        kill(tree)
        running.start("control")
        ended, _ = running.follow(job)
        assert ended["state"] == "done", (pin, ended["error"])
        assert running.predict("e", {"x": 1.0}).json() == {"output": 2.0}
    nothing_half(running)
    for each in Environments(running.home / "environments").list():
        code = "import networkx, numpy.linalg, packaging.version, scipy.linalg"
        subprocess.run([each.python, "-c", code], check=True, timeout=120)
    running.stop()
    assert doctor.examine(Home(running.home), thorough=True) == []


def test_uv_killed_in_a_build_fails_the_deployment_and_leaves_nothing(running, function) -> None:
    job = running.submit("e", model(function, "24.0"))
    kill(building(running))
    ended, _ = running.follow(job)
    if ended["state"] == "done":  # it had ended in between
        return
    assert ended["state"] == "failed"
    assert "uv was killed by signal 9" in ended["error"]["error"]
    nothing_half(running)
    running.deploy("e", model(function, "24.0"))
    assert running.predict("e", {"x": 1.0}).json() == {"output": 2.0}


def test_a_build_that_is_cancelled_leaves_nothing(running, function) -> None:
    job = running.submit("e", model(function, "24.1"))
    building(running)
    running.api("POST", f"/jobs/{job}/cancel")
    ended, _ = running.follow(job)
    assert ended["state"] == "cancelled"
    nothing_half(running)


def test_deployments_beside_an_eager_clean_up_lose_no_environment(running, function) -> None:
    over = threading.Event()
    cleaned: list[int] = []

    def clean() -> None:
        with httpx.Client(base_url=f"{running.url('control')}/api/v1", timeout=60) as http:
            while not over.is_set():
                answer = http.post("/environments/clean", json={"older_than": 0})
                if answer.status_code == 200:
                    cleaned.append(len(answer.json()["removed"]))

    cleaner = threading.Thread(target=clean)
    running.deploy("e", model(function, "25.0", ()))
    cleaner.start()
    try:
        for pin in (*PINS[:3], *PINS[:3]):
            running.deploy("e", model(function, pin, ()))
            assert running.predict("e", {"x": 1.0}).json() == {"output": 2.0}
    finally:
        over.set()
        cleaner.join()
    assert sum(cleaned) >= 3  # those of the revisions before
    (left,) = Environments(running.home / "environments").list()
    assert running.endpoint("e")["wanted"]["environment"] == left.id


@pytest.mark.parametrize("grace", [0, 3600])
def test_what_nothing_uses_any_more_goes_by_itself_after_its_grace(yard, function, grace: int) -> None:
    (yard.home / "modelyard.toml").write_text(f"environment_grace = {grace}\n")
    yard.start("node", "control")
    yard.deploy("e", function("return x"))
    yard.deploy("other", model(function, "25.0", ()))
    kept = yard.endpoint("e")["wanted"]["environment"]
    yard.api("DELETE", "/endpoints/other")
    if grace == 0:
        yard.wait(lambda: [each["id"] for each in yard.api("GET", "/environments").json()] == [kept])
    else:
        yard.api("DELETE", "/models/other")
        yard.wait(lambda: len(list((yard.home / "versions").iterdir())) == 1)  # it was looked after
        assert len(yard.api("GET", "/environments").json()) == 2
    assert yard.predict("e", {"x": 1.0}).json() == {"output": 1.0}


def test_requirements_at_odds_are_told_with_who_asks_for_them(running, scale) -> None:
    declared = b"requirements: ['numpy<1.20']\n"
    job, _ = running.follow(running.submit("m", scale(2.0) | {"model.yaml": declared}, trust_pickle=True))
    assert job["state"] == "failed"
    told = job["error"]["error"]
    assert "the model asks for numpy<1.20" in told and "the adapter 'onnx' asks for numpy>=" in told


def test_a_system_package_that_is_missing_is_told_before_anything_is_built(running, function) -> None:
    declared = b"system_packages: [modelyard-no-such]\n"
    files = model(function, "24.0") | {"model.yaml": declared}
    job, _ = running.follow(running.submit("m", files))
    assert job["state"] == "failed"
    assert job["error"]["error"].endswith("apt-get install modelyard-no-such")
    assert not [path for path in (running.home / "environments").glob("*") if not path.name.startswith(".")]


@pytest.mark.parametrize("implementation", ["CPython", "PyPy"])
def test_a_model_runs_on_the_python_that_it_asks_for(running, function, implementation: str) -> None:
    other = another(implementation)
    asked = minor(other) if implementation == "CPython" else other.version  # a CPython 3.9 may be here too
    declared = f"python: '{asked}'\n"
    source = (
        "import platform\n"
        "def predict(text: str):\n"
        "    return platform.python_implementation() + ' ' + platform.python_version() + text[::-1]\n"
    )
    running.deploy("m", {"model.py": source.encode(), "model.yaml": declared.encode()})
    for text in ("", "ab", "ab" * 300_000):  # the last is more than shared memory is used from
        for _ in range(3):
            assert running.predict("m", {"text": text}).json() == {"output": other.name + text[::-1]}
    (environment,) = running.api("GET", "/environments").json()
    assert environment["interpreter"] == other.identity


def test_a_deployment_says_which_python(running, function) -> None:
    other = another()
    files = function("import platform; return platform.python_version()")
    running.deploy("m", files, settings={"python": minor(other)})
    assert running.predict("m", {"x": 1.0}).json() == {"output": other.version}
    # It stays, until something else is said.
    running.deploy("m", files, settings={"replicas": 2})
    assert running.endpoint("m")["wanted"]["settings"]["python"] == minor(other)
    assert running.predict("m", {"x": 1.0}).json() == {"output": other.version}
    running.deploy("m", files, reset=True)
    assert running.predict("m", {"x": 1.0}).json() != {"output": other.version}


def test_a_python_that_is_not_here_fails_the_deployment_with_what_to_do(running, function) -> None:
    job, _ = running.follow(running.submit("m", function("return x"), settings={"python": ">=3.38"}))
    assert job["state"] == "failed"
    assert "uv python install '>=3.38'" in job["error"]["error"]
    body = {"endpoint": "m", "model": "m", "settings": {"python": "snake"}}
    answer = running.http.post(f"{running.url('control')}/api/v1/deployments", json=body)
    assert (answer.status_code, answer.json()["field"]) == (400, "settings.python")
