"""PostgreSQL restarted, killed, full, read-only under a running platform: told truly, nothing lost, nothing doubled."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from support.node import wait_until
from support.postgres import PASSWORD, PostgresServer
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

REMOTES = "/api/v1/remotes/"


class Load:
    """Predicts, and writes one new name after another through the API; keeps what it was told of each."""

    def __init__(self, api: str, predict: str) -> None:
        self.api, self.predict = api, predict
        self.predictions: list[int] = []
        self.written: dict[str, httpx.Response] = {}
        self.refused: list[httpx.Response] = []
        self.read: list[httpx.Response] = []
        self._stop = threading.Event()
        works = (self._predict, self._write, self._write, self._read)
        self._threads = [threading.Thread(target=work, args=(n,)) for n, work in enumerate(works)]

    def _predict(self, _: int) -> None:
        with httpx.Client(timeout=60) as http:
            while not self._stop.is_set():
                self.predictions.append(http.post(self.predict, json={"x": 1.0}).status_code)
                time.sleep(0.01)

    def _write(self, who: int) -> None:
        number = 0
        with httpx.Client(base_url=self.api, timeout=60) as http:
            while not self._stop.is_set():
                number += 1
                name = f"r{who}-{number}"
                body = {"remotes": [{"url": "http://127.0.0.1:1", "model": "m"}]}
                answer = http.put(REMOTES + name, json=body)
                if answer.status_code == 200:
                    self.written[name] = answer
                else:
                    self.refused.append(answer)
                    time.sleep(0.05)

    def _read(self, _: int) -> None:
        with httpx.Client(base_url=self.api, timeout=60) as http:
            while not self._stop.is_set():
                answer = http.get("/api/v1/jobs")
                self.read.append(answer)
                if answer.status_code != 200:
                    time.sleep(0.05)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.predictions and self.written and self.read, what="a first answer of each")
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self) -> None:
        """Until it writes and reads again."""
        written, read = len(self.written), len(self.read)
        wait_until(lambda: len(self.written) > written + 3, what="a write that is taken")
        wait_until(
            lambda: self.read[read:] and self.read[-1].status_code == 200, what="a read that is answered"
        )


def answered(url: str) -> httpx.Response:
    """What is answered, asked again while that is truly refused."""

    def asked() -> httpx.Response | None:
        answer = httpx.get(url, timeout=60)
        assert answer.status_code == 200 or is_true(answer), answer.text
        return answer if answer.status_code == 200 else None

    return wait_until(asked, what="a read that is answered")


def is_true(answer: httpx.Response) -> bool:
    """A refusal as it has to be."""
    told = answer.headers.get("retry-after", "")
    return answer.status_code == 503 and answer.json()["code"] == "unavailable" and 1 <= int(told) <= 10


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    # As a server is by default: what is acknowledged survives it.
    with PostgresServer("max_connections=30", "synchronous_commit=on") as server:
        yield server


@pytest.fixture
def database(server: PostgresServer) -> str:
    return server.create()


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Iterator[Shell]:
    made = Shell(tmp_path / "home", MODELYARD_DATABASE=database)
    yield made
    try:
        made.run("down")
    finally:
        made.kill_all()


def function(folder: Path, *, slow: float = 0.0) -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(
        f"import time\ntime.sleep({slow})\ndef predict(x: float):\n    return 'here'\n"
    )
    return folder


def test_a_database_that_comes_and_goes_loses_nothing_and_no_prediction_notices(
    shell: Shell, server: PostgresServer, database: str, tmp_path: Path
) -> None:
    shell.json("deploy", str(function(tmp_path / "m")), "--name", "m")
    api = (shell.home / "run" / "control.url").read_text()
    predict = (shell.home / "run" / "node.url").read_text() + "/models/m/predict"
    control = shell.pid("control")
    slow = function(tmp_path / "slow", slow=4.0)
    with Load(api, predict) as load:
        job = shell.json("deploy", str(slow), "--name", "slow", "--detach")["job"]
        for _ in range(3):
            server.restart()
            load.goes_on()
        assert server.disconnect(database) > 0
        load.goes_on()
        server.kill()
        time.sleep(2)
        refused = httpx.get(f"{api}/api/v1/jobs", timeout=60)
        server.start()
        assert is_true(refused)
        # What it was told is true: after that time it is answered.
        time.sleep(int(refused.headers["retry-after"]))
        assert httpx.get(f"{api}/api/v1/jobs", timeout=60).status_code == 200
        load.goes_on()
        assert shell.json("jobs", job)["job"]["state"] == "done"

        server.set("default_transaction_read_only", "on")
        before = len(load.refused)
        wait_until(lambda: len(load.refused) > before, what="a write that is refused")
        assert "read-only" in load.refused[-1].json()["error"]
        assert httpx.get(f"{api}/api/v1/jobs", timeout=60).status_code == 200
        server.set("default_transaction_read_only", None)
        load.goes_on()

        # Every connection that there is is somebody else's.
        with contextlib.ExitStack() as others:
            before = len(load.refused)
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(contextlib.closing(psycopg.connect(database)))
            server.disconnect(database, application="modelyard")
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(contextlib.closing(psycopg.connect(database)))
            wait_until(lambda: len(load.refused) > before, what="a call without a connection")
        load.goes_on()

    assert set(load.predictions) == {200}
    assert all(is_true(answer) for answer in load.refused), [answer.text for answer in load.refused]
    assert all(is_true(answer) for answer in load.read if answer.status_code != 200)
    assert shell.pid("control") == control  # it was never restarted
    # What was acknowledged is there, once; and of what was not, nothing is there twice.
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT endpoint FROM remotes").fetchall()
        audited = connection.execute("SELECT subject FROM audit WHERE what = 'remotes.set'").fetchall()
    assert set(load.written) <= {name for (name,) in rows}
    assert len(audited) == len(set(audited)) == len(rows)
    # What was connected otherwise has just ended, and the server may still count it: asked again, as one is told to.
    events = answered(f"{api}/api/v1/jobs/{job}/events").text
    # A stage may be begun again, as after a kill; what it does is done once.
    for stage in ("register", "environment", "start", "ready", "route"):
        done = [
            line for line in events.splitlines() if f'"stage":"{stage}"' in line and '"stage_done"' in line
        ]
        assert len(done) == 1, events
    deployments = answered(f"{api}/api/v1/deployments?endpoint=slow").json()
    assert [each["state"] for each in deployments] == ["ready"]
    print(f"\n{len(load.predictions)} predictions, {len(load.written)} writes, {len(load.refused)} refused; "
          f"{len(load.read)} reads, {sum(each.status_code != 200 for each in load.read)} refused")  # fmt: skip


def test_a_platform_that_starts_before_its_database_serves_and_goes_on_when_that_is_there(
    shell: Shell, server: PostgresServer, tmp_path: Path
) -> None:
    shell.json("deploy", str(function(tmp_path / "m")), "--name", "m")
    predict = (shell.home / "run" / "node.url").read_text() + "/models/m/predict"
    shell.json("down")
    server.stop()
    up = shell.start("up", "--json")

    def served() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.post(predict, json={"x": 1.0}, timeout=60).status_code == 200
        return False

    wait_until(served, what="a prediction without a database")
    log = shell.home / "logs" / "control.log"
    wait_until(lambda: "does not answer" in log.read_text(), what="the control plane waiting")
    assert up.poll() is None
    server.start()
    out, err = up.communicate(timeout=150)
    assert up.returncode == 0, out + err
    assert [each["name"] for each in shell.json("models")] == ["m"]
    assert PASSWORD not in log.read_text()
