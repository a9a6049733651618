"""kill -9 of clients and of the control plane at random instants of 200 uploads: nothing lost, nothing half, no garbage.

On the home's own disk and database, and on PostgreSQL and a bucket.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.core.manifest import Manifest
from modelyard.registry.upload import collect_garbage
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.checking import Check
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from modelyard.store.repacking import GRACE, tidy
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions
from support.failures import UPLOAD_KILLS as KILLS
from support.models import save_mlp
from support.node import wait_until
from support.postgres import PostgresServer
from support.s3 import S3Server

pytestmark = pytest.mark.timeout(600)

UPLOADS, CLIENTS = 200, 4

CLIENT = """
import hashlib, http.client, json, sys, time
from pathlib import Path
home, model, first, last = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3]), int(sys.argv[4])

def ask(method, path, body):
    host = (home / "run" / "control.url").read_text().strip().removeprefix("http://")
    key = (home / "key").read_text().strip()
    api = http.client.HTTPConnection(host, timeout=60)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    api.request(method, "/api/v1" + path, body, headers)
    answer = api.getresponse()
    return answer.status, answer.read()

def upload(number):
    files = {"model.onnx": model, "README.md": f"# Model {number}".encode()}
    held = {hashlib.sha256(data).hexdigest(): data for data in files.values()}
    told = [{"path": p, "size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for p, d in files.items()]
    status, answer = ask("POST", "/uploads", json.dumps({"files": told}))
    if status != 201:
        return False
    begun = json.loads(answer)
    for digest in begun["missing"]:
        if ask("PUT", f"/uploads/{begun['id']}/blobs/{digest}", held[digest])[0] != 204:
            return False
    return ask("POST", f"/models/m{number}/versions", json.dumps({"upload": begun["id"]}))[0] in (200, 201)

for number in range(first, last):
    while True:
        try:
            if upload(number):
                break
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    print(number, flush=True)
"""


class Plane:
    """The control plane, which can be killed and started again."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.home = home
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "modelyard.web"],
            env={**kept, **self.settings, "MODELYARD_HOME": str(self.home), "MODELYARD_CONTROL_PORT": "0"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait()


class Clients:
    """Four of them; one that is killed goes on behind what it was told is kept."""

    def __init__(self, home: Path, model: Path) -> None:
        self.acknowledged: set[int] = set()
        self._home, self._model, self._stopped = home, model, False
        each = UPLOADS // CLIENTS
        self._spans = [[number * each, (number + 1) * each] for number in range(CLIENTS)]
        self._processes: list[subprocess.Popen[str] | None] = [None] * CLIENTS
        self._ears = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def _run(self, number: int) -> None:
        first, last = self._spans[number]
        while first < last and not self._stopped:
            process = subprocess.Popen(
                [sys.executable, "-c", CLIENT, str(self._home), str(self._model), str(first), str(last)],
                stdout=subprocess.PIPE,
                text=True,
            )
            self._processes[number] = process
            assert process.stdout is not None
            with process, process.stdout:
                for line in process.stdout:
                    if line.endswith("\n"):
                        self.acknowledged.add(int(line))
                        first = int(line) + 1

    def start(self) -> None:
        for ear in self._ears:
            ear.start()

    def kill(self, number: int) -> bool:
        process = self._processes[number]
        if process is None or process.poll() is not None:
            return False
        process.kill()
        return True

    def stop(self) -> None:
        """Whatever is still on its way."""
        self._stopped = True
        for number in range(CLIENTS):
            self.kill(number)
        self.join()

    def join(self) -> None:
        for ear in self._ears:
            if ear.ident is not None:
                ear.join()


@pytest.fixture(params=["embedded", "team"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where the rows and the bytes are, as variables of the control plane."""
    if request.param == "embedded":
        yield {}
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create()
    with S3Server(tmp_path / "s3") as bucket, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.variables.items():
            patch.setenv(name, value)
        yield {"MODELYARD_DATABASE": url, "MODELYARD_BLOBS": "s3://yard/models"}
    server.drop(url)


def test_killed_in_two_hundred_uploads_nothing_is_lost_nothing_is_half_and_garbage_goes(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    home, model = tmp_path / "home", save_mlp(tmp_path / "model.onnx")
    plane, clients, kills = Plane(home, settings), Clients(home, model), dict.fromkeys(KILLS, 0)
    plane.start()
    try:
        wait_until(lambda: (home / "run" / "control.url").exists(), what="the control plane")
        clients.start()
        _kill(plane, clients, kills)
        clients.join()
        plane.kill(signal.SIGTERM)
    finally:
        clients.stop()
        plane.kill()
    assert clients.acknowledged == set(range(UPLOADS))
    assert kills == KILLS
    _look(home, model.read_bytes(), settings)


def _kill(plane: Plane, clients: Clients, kills: dict[str, int]) -> None:
    chance = random.Random(11)
    turns = [who for who, count in KILLS.items() for _ in range(count)]
    chance.shuffle(turns)
    for index, who in enumerate(turns):
        # At every so many uploads, and then some time: the instants are spread over all of them.
        due = (index + 1) * (UPLOADS - 20) // (len(turns) + 1)
        wait_until(lambda due=due: len(clients.acknowledged) >= due, what="more uploads")
        time.sleep(chance.random() * 0.1)
        if who == "control plane":
            plane.kill()
            plane.start()
            kills[who] += 1
        else:
            wait_until(lambda: clients.kill(chance.randrange(CLIENTS)), what="a client to kill")
            kills[who] += 1


def _look(home: Path, model: bytes, settings: dict[str, str]) -> None:
    database = Database(settings.get("MODELYARD_DATABASE") or home / "modelyard.db")
    pieces = Pieces(database, lambda: time.time() + 2 * GRACE)  # what nobody refers to may go at once
    place = open_bucket(settings["MODELYARD_BLOBS"]) if settings else None
    blobs = BlobStore(home / "blobs", pieces, place)
    versions, uploads = Versions(database), Uploads(database)
    needed: dict[str, int] = {}
    for number in range(UPLOADS):
        (version,) = versions.of(f"m{number}")  # once, however often it was sent
        assert _bytes(blobs, version.manifest) == {
            "README.md": f"# Model {number}".encode(),
            "model.onnx": model,
        }
        needed |= {file.sha256: file.size for file in version.manifest.files}
    assert len(versions.models()) == UPLOADS
    assert Check(blobs, pieces, deep=True, repair=False).run(needed, seconds=600).troubles == ()
    uploads.expire(time.time() + 2 * 24 * 3600)  # those whose clients were killed
    blobs.sweep()
    collect_garbage(blobs, uploads, versions)
    tidy(blobs.place, pieces, blobs.incoming, clock=lambda: time.time() + 2 * GRACE)
    assert set(blobs.digests()) == set(needed)
    if settings:  # an object each until they are put together, and none beside them
        assert len(list(blobs.place.objects(""))) == len(needed)
        assert blobs.gather() == len(needed)
        assert len(list(blobs.place.objects(""))) == 1
        assert Check(blobs, pieces, deep=True, repair=False).run(needed, seconds=600).troubles == ()
    assert [
        path
        for path in (home / "blobs" / "incoming").rglob("*")
        if path.is_file() and path.name != ".owner"
    ] == []
    assert blobs.staging.digests() == set()
    database.close()


def _bytes(blobs: BlobStore, manifest: Manifest) -> dict[str, bytes]:
    found = {file.path: b"".join(blobs.open(file.sha256)) for file in manifest.files}
    assert all(hashlib.sha256(found[file.path]).hexdigest() == file.sha256 for file in manifest.files)
    return found
