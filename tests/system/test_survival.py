"""The whole platform, killed and starved at the worst moments: nothing lost, nothing half."""

import http.client
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.models import save_mlp
from support.node import wait_until
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def node_url(shell: Shell) -> str:
    return shell.json("status")["programs"]["node"]["url"]


def predict(url: str, endpoint: str, record: object) -> tuple[int, dict]:
    request = urllib.request.Request(
        f"{url}/models/{endpoint}/predict",
        json.dumps(record).encode(),
        {"Content-Type": "application/json", "modelyard-timeout": "20"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def replicas(shell: Shell) -> list[int]:
    with urllib.request.urlopen(control_url(shell) + "/api/v1/endpoints", timeout=60) as response:
        return [replica["pid"] for endpoint in json.load(response) for replica in endpoint["replicas"]]


def control_url(shell: Shell) -> str:
    return (shell.home / "run" / "control.url").read_text()


class Load:
    """Calls an endpoint from several threads until it is stopped, and keeps every answer."""

    def __init__(self, url: str, endpoint: str, record: dict, clients: int = 8) -> None:
        self.answers: list[tuple[int, dict]] = []
        self._stop = threading.Event()

        def call() -> None:
            while not self._stop.is_set():
                self.answers.append(predict(url, endpoint, record))

        self._threads = [threading.Thread(target=call) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.answers, what="a first answer")
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def function(folder: Path, answer: str, *, slow: float = 0.0) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(
        f"import time\ntime.sleep({slow})\ndef predict(x: float):\n    return {answer!r}\n"
    )
    return folder


def test_a_new_version_takes_over_under_load_without_one_failed_call(shell: Shell, tmp_path: Path) -> None:
    shell.json("deploy", str(function(tmp_path / "m", "one")), "--name", "m")
    url = node_url(shell)
    with Load(url, "m", {"x": 1.0}) as load:
        for answer in ("two", "three"):
            shell.json("deploy", str(function(tmp_path / "m", answer)), "--name", "m")
            assert predict(url, "m", {"x": 1.0}) == (200, {"output": answer})
            wait_until(
                lambda answer=answer: any(told == {"output": answer} for _, told in load.answers),
                what=f"a caller that is told {answer!r}",
            )
    assert {status for status, _ in load.answers} == {200}
    assert {answer["output"] for _, answer in load.answers} == {"one", "two", "three"}


def test_a_version_that_does_not_start_leaves_the_former_serving(shell: Shell, tmp_path: Path) -> None:
    shell.json("deploy", str(function(tmp_path / "m", "one")), "--name", "m")
    url = node_url(shell)
    (tmp_path / "m" / "model.py").write_text(
        "raise RuntimeError('no weights')\ndef predict(x: float): ...\n"
    )
    with Load(url, "m", {"x": 1.0}) as load:
        failed = shell.run("deploy", str(tmp_path / "m"), "--name", "m")
    assert failed.returncode == 1
    assert "RuntimeError: no weights" in failed.stderr + failed.stdout
    assert {status for status, _ in load.answers} == {200}
    assert "no weights" in shell.run("logs", "m").stdout


def test_without_the_control_plane_predictions_go_on_and_its_return_changes_nothing(
    shell: Shell, tmp_path: Path
) -> None:
    shell.json("deploy", str(save_mlp(tmp_path / "model.onnx")), "--name", "mlp")
    url, before = node_url(shell), replicas(shell)
    with Load(url, "mlp", {"x": [0.0] * 64}) as load:
        for _ in range(2):
            shell.kill("control")
            wait_until(lambda: shell.holder("control"), what="another control plane")
            wait_until(lambda: shell.run("endpoints").returncode == 0, what="its API")
    assert {status for status, _ in load.answers} == {200}
    wait_until(lambda: replicas(shell) == before, what="the same replicas")


def test_a_killed_node_serves_from_its_kept_table_while_the_control_plane_is_silent(
    shell: Shell, tmp_path: Path
) -> None:
    shell.json("deploy", str(save_mlp(tmp_path / "model.onnx")), "--name", "mlp")
    url = node_url(shell)
    control = shell.pid("control")
    os.kill(control, signal.SIGSTOP)
    try:
        shell.kill("node")

        def answered() -> bool:
            try:
                return predict(url, "mlp", {"x": [0.0] * 64})[0] == 200
            except OSError:
                return False

        wait_until(answered, what="the node's return")
    finally:
        os.kill(control, signal.SIGCONT)


def test_everything_killed_in_an_upload_leaves_nothing_half_and_the_next_deploy_goes_on(
    shell: Shell, tmp_path: Path
) -> None:
    shell.json("up")
    folder = tmp_path / "m"
    function(folder, "whole")
    for number in range(3):
        (folder / f"weights-{number}.bin").write_bytes(os.urandom(24_000_000))
    files = [
        {"path": path.name, "size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
    ]
    host = control_url(shell).removeprefix("http://")
    api = http.client.HTTPConnection(host, timeout=60)
    headers = {"Content-Type": "application/json"}
    api.request("POST", "/api/v1/uploads", json.dumps({"files": files}), headers)
    upload = json.load(api.getresponse())["id"]
    # Half of one blob is on its way when everything dies.
    big = files[1]
    api.putrequest("PUT", f"/api/v1/uploads/{upload}/blobs/{big['sha256']}")
    api.putheader("Content-Length", str(big["size"]))
    api.endheaders()
    api.send((folder / str(big["path"])).read_bytes()[:16_000_000])
    incoming = shell.home / "blobs" / "incoming"
    wait_until(
        lambda: any(path.is_file() and path.stat().st_size for path in incoming.rglob("*")),
        what="bytes on the disk",
    )
    shell.kill("supervisor", "control", "node")
    api.close()

    shell.json("up")
    assert shell.json("models") == []
    assert shell.json("doctor")["findings"] == []
    shell.json("deploy", str(folder), "--name", "m")
    assert predict(node_url(shell), "m", {"x": 1.0}) == (200, {"output": "whole"})
    # Nothing is under way in a platform that is down: doctor looks at what is half, too.
    shell.json("down")
    assert shell.json("doctor")["findings"] == []


def large(folder: Path) -> str:
    """A model of many parts; the digest of its weights."""
    function(folder, "whole")
    (folder / "weights.bin").write_bytes(os.urandom(160_000_000))
    return sha256(folder / "weights.bin")


def parts_here(shell: Shell, digest: str) -> int:
    try:
        return (shell.home / "blobs" / "staged" / f"{digest}.parts").read_bytes().count(1)
    except FileNotFoundError:
        return 0


def begin_deploy(shell: Shell, folder: Path, digest: str) -> subprocess.Popen[str]:
    """A deploy whose first parts have come."""
    process = shell.start("deploy", str(folder), "--name", "m")
    while not parts_here(shell, digest):
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    return process


def test_a_client_that_is_killed_in_an_upload_sends_only_the_rest_when_it_comes_again(
    shell: Shell, tmp_path: Path
) -> None:
    shell.json("up")
    digest = large(tmp_path / "m")
    process = begin_deploy(shell, tmp_path / "m", digest)
    process.kill()
    process.communicate()
    come = parts_here(shell, digest)
    assert 0 < come < 20, come
    assert shell.json("models") == []
    shell.json("deploy", str(tmp_path / "m"), "--name", "m")
    assert predict(node_url(shell), "m", {"x": 1.0}) == (200, {"output": "whole"})
    log = (shell.home / "logs" / "control.log").read_text()
    asked = [line for line in log.splitlines() if f"{digest}/parts/" in line and '"status":204' in line]
    assert 20 <= len(asked) <= 20 + 4, len(asked)  # those under way at its end may have come twice


def test_an_upload_goes_on_when_the_control_plane_is_killed_in_it(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    digest = large(tmp_path / "m")
    process = begin_deploy(shell, tmp_path / "m", digest)
    shell.kill("control")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, (out, err)
    assert predict(node_url(shell), "m", {"x": 1.0}) == (200, {"output": "whole"})
    assert shell.json("doctor")["findings"] == []


def test_everything_killed_in_a_deploy_resumes_by_itself(shell: Shell, tmp_path: Path) -> None:
    shell.json("deploy", str(function(tmp_path / "m", "one")), "--name", "m")
    for wait in (0.05, 0.4, 1.0):
        folder = function(tmp_path / "m", f"after {wait}", slow=1.0)
        job = shell.json("deploy", str(folder), "--name", "m", "--detach")["job"]
        time.sleep(wait)
        shell.kill("supervisor", "control", "node")
        shell.json("up")
        # To its end: a job that has the traffic but has not noticed yet would be overtaken by the next.
        assert shell.json("jobs", job)["job"]["state"] == "done"
        assert predict(node_url(shell), "m", {"x": 1.0}) == (200, {"output": f"after {wait}"})

    def all_done() -> bool:
        with urllib.request.urlopen(control_url(shell) + "/api/v1/jobs", timeout=60) as response:
            return {job["state"] for job in json.load(response)} == {"done"}

    wait_until(all_done, what="the end of every job")
    wait_until(lambda: shell.json("doctor")["findings"] == [], what="a clean home")
    shell.json("down")
    assert shell.json("doctor")["findings"] == []


def sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_told_nothing_is_lost_and_the_space_comes_back(
    small_disk: Path, tmp_path: Path
) -> None:
    shell = Shell(small_disk / "home")
    try:
        shell.json("deploy", str(function(tmp_path / "m", "one")), "--name", "m")
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        folder = function(tmp_path / "large", "large")
        (folder / "weights.bin").write_bytes(os.urandom(60_000_000))
        failed = shell.run("deploy", str(folder), "--name", "large")
        assert failed.returncode == 1
        assert "disk is full" in failed.stderr.lower()

        def space_is_back() -> bool:
            now = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
            return now > free - 2_000_000

        wait_until(space_is_back, what="the space given back")
        assert predict(node_url(shell), "m", {"x": 1.0}) == (200, {"output": "one"})
        shell.json("deploy", str(function(tmp_path / "m", "two")), "--name", "m")
        assert predict(node_url(shell), "m", {"x": 1.0}) == (200, {"output": "two"})
    finally:
        shell.run("down")
        shell.kill_all()
