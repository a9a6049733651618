"""A thousand models are uploaded at once: how long does each take, and is each there, once?

1,000 callers, each with a connection of its own and all at the same time, register a small model (an ONNX perceptron
of 20 kB and a README) at a real control plane, as its clients do: begin, send both files, make a version (scanned,
analysed, durable). Four in five are distinct; the others are the same fifty models from four callers each, under one name.
Afterwards every version that was acknowledged is read back and compared, versions and blobs are counted, and the store
is verified, deeply. On SQLite and a disk, and on PostgreSQL and a bucket (SeaweedFS on the same cores).

MLflow's server gets the same files by the calls that `log_artifact` makes: create a run, send two files, end the run. It
neither scans nor looks at what it gets, and each copy is kept.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.cores import on
from bench.load.client import Connection, connect
from bench.peers.peer import Peer, Running, free_port, supervised, wait_until_right
from bench.plan import Plan
from bench.results import Table, Verdict, at_most
from bench.statistics import quantile

ONCE = True
CALLERS = 1000
_EQUAL = 4  # callers with the same model, of one in five
_PATIENCE = 600.0
SETTINGS = ("SQLite, disk", "PostgreSQL, bucket")
MLFLOW = Peer("mlflow-server", "MLflow (not scanned, not looked at)", "", ("mlflow>=3,<4", "setuptools<81"))


class Model(NamedTuple):
    """What one caller uploads: the name, and bytes by path."""

    name: str
    files: dict[str, bytes]


def seconds(plan: Plan) -> float:
    return 90 if plan.quick else 420


def measure(plan: Plan) -> dict[str, Any]:
    callers = 40 if plan.quick else CALLERS
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        models = _models(here / "made.onnx", callers)
        found = {setting: _ours(here / setting[:6], models, setting) for setting in SETTINGS}
        peer = _mlflow(here / "mlflow", models) if plan.wants(MLFLOW.name) else None
    return {"callers": callers, "found": found, "peer": peer}


def _models(place: Path, callers: int) -> list[Model]:
    from support.models import save_mlp

    made: list[Model] = []
    seed = 0
    while len(made) < callers:
        seed += 1
        files = {
            "model.onnx": save_mlp(place, seed=seed).read_bytes(),
            "README.md": f"# Model {seed}\n\nA perceptron.\n".encode(),
        }
        # Sixteen distinct ones, then one of four callers.
        copies = _EQUAL if seed % 17 == 0 else 1
        made += [Model(f"m{seed:04}", files)] * min(copies, callers - len(made))
    return made


# --- Modelyard


def _ours(home: Path, models: list[Model], setting: str) -> dict[str, Any]:
    home.mkdir()
    with contextlib.ExitStack() as stack:
        variables = _beside(stack, home, setting)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")},
            **variables,
            "MODELYARD_HOME": str(home / "home"),
            "MODELYARD_CONTROL_PORT": "0",
        }
        command = on(None, [sys.executable, "-m", "modelyard.web"])
        log = home / "log"
        process = stack.enter_context(supervised(command, environment, log))
        address = home / "home" / "run" / "control.url"
        running = Running("", None, process.pid)
        wait_until_right("the control plane", running, lambda _: _ready(address), process, log)
        url, key = address.read_text().strip(), (home / "home" / "key").read_text().strip()
        before = _processor(process.pid)
        taken = uvloop.run(_together(url, [_upload(model, key) for model in models]))
        taken["processor"] = _processor(process.pid) - before
        taken["rows"] = _rows(url, key, models)
        taken["verified"] = _verified(url, key)
        taken["lost"] = _lost(home / "home", environment, models)
    return taken


def _beside(stack: contextlib.ExitStack, home: Path, setting: str) -> dict[str, str]:
    """What a setting needs, started; the variables that tell the control plane of it."""
    if setting == SETTINGS[0]:
        return {}
    from support.postgres import PostgresServer
    from support.s3 import S3Server

    postgres = stack.enter_context(PostgresServer("max_connections=100", durable=True))
    bucket = stack.enter_context(S3Server(home / "s3"))
    return {
        **bucket.variables,
        "MODELYARD_DATABASE": postgres.create(),
        "MODELYARD_BLOBS": "s3://bench/uploads",
    }


def _ready(address: Path) -> bool:
    with urllib.request.urlopen(address.read_text().strip() + "/ready", timeout=5) as answer:
        return answer.status == 200


def _upload(model: Model, key: str) -> Callable[[Connection], Awaitable[bool]]:
    """One caller's calls; whether all of them were acknowledged."""
    files = [
        {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in model.files.items()
    ]
    held = {file["sha256"]: data for file, data in zip(files, model.files.values(), strict=True)}

    async def call(connection: Connection) -> bool:
        async def ask(method: str, path: str, body: bytes) -> tuple[int, Any]:
            head = f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
            status, answer = await _ask(connection, method, "/api/v1" + path, body, head)
            return status, json.loads(answer) if answer else None

        status, upload = await ask("POST", "/uploads", json.dumps({"files": files}).encode())
        if status != 201:
            return False
        for digest in upload["missing"]:
            status, _ = await ask("PUT", f"/uploads/{upload['id']}/blobs/{digest}", held[digest])
            if status != 204:
                return False
        asked = json.dumps({"upload": upload["id"]}).encode()
        status, _ = await ask("POST", f"/models/{model.name}/versions", asked)
        return status in (200, 201)

    return call


def _rows(url: str, key: str, models: list[Model]) -> dict[str, int]:
    """Models and versions that there are now, and how many there should be."""
    told = _get(url, key, "GET", "/models")
    names = {model.name for model in models}
    counted = [len(_get(url, key, "GET", f"/models/{name}")["versions"]) for name in sorted(names)]
    return {"models": len(told), "versions": sum(counted), "wanted": len(names)}


def _verified(url: str, key: str) -> dict[str, int]:
    """`modelyard store verify --deep`: blobs that were read, and what was wrong."""
    blobs = troubles = 0
    last: str | None = None
    while True:
        body = {"deep": True, **({"after": last} if last else {})}
        told = _get(url, key, "POST", "/store/verify", body)
        blobs += told["blobs"]
        troubles += len(told["troubles"])
        last = told.get("last")
        if last is None:
            return {"blobs": blobs, "troubles": troubles}


def _get(url: str, key: str, method: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        url + "/api/v1" + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
        return json.loads(answer.read())


def _lost(home: Path, environment: dict[str, str], models: list[Model]) -> dict[str, int]:
    """Versions that are not there byte for byte, and blobs beyond those that are needed; read where they are kept."""
    from modelyard.store.blobs import BlobStore
    from modelyard.store.bucket import open_bucket
    from modelyard.store.database import Database
    from modelyard.store.pieces import Pieces
    from modelyard.store.versions import Versions

    before = dict(os.environ)
    os.environ.update(environment)
    place = environment.get("MODELYARD_DATABASE")
    database = Database(place if place else home / "modelyard.db")
    try:
        bucket = environment.get("MODELYARD_BLOBS")
        blobs = BlobStore(home / "blobs", Pieces(database), open_bucket(bucket) if bucket else None)
        versions = Versions(database)
        lost = 0
        for model in {model.name: model for model in models}.values():
            manifest = versions.of(model.name)[0].manifest
            there = {file.path: b"".join(blobs.open(file.sha256)) for file in manifest.files}
            lost += there != model.files
        needed = {hashlib.sha256(data).hexdigest() for model in models for data in model.files.values()}
        prefixes = ("objects", "packs")
        objects = sum(1 for prefix in prefixes for _ in blobs.place.objects(prefix))
        return {"lost": lost, "blobs": len(set(blobs.digests())), "needed": len(needed), "objects": objects}
    finally:
        database.close()
        os.environ.clear()
        os.environ.update(before)


# --- MLflow


def _mlflow(place: Path, models: list[Model]) -> dict[str, Any]:
    place.mkdir()
    try:
        python = MLFLOW.install()
    except subprocess.CalledProcessError as error:
        return {"failed": str(error)[:300]}
    port = free_port()
    command = [
        str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--artifacts-destination", str(place / "artifacts"),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    url, log = f"http://127.0.0.1:{port}", place / "log"
    with supervised(on(None, command), environment, log) as process:
        running = Running(url, None, process.pid)
        try:
            wait_until_right("MLflow", running, lambda at: _healthy(at.http), process, log, 180.0)
        except RuntimeError as error:
            return {"failed": str(error).splitlines()[0][:300]}
        experiment = _post(url, "experiments/create", {"name": "bench"})["experiment_id"]
        before = _processor(process.pid)
        try:
            taken = uvloop.run(_together(url, [_logged(model, experiment) for model in models]))
        except TimeoutError:
            return {"failed": f"not done after {_PATIENCE:.0f} s"}
        taken["processor"] = _processor(process.pid) - before
        kept = [path for path in (place / "artifacts").rglob("*") if path.is_file()]
        taken["files"] = len(kept)
    return taken


def _healthy(url: str) -> bool:
    with urllib.request.urlopen(url + "/health", timeout=5) as answer:
        return answer.status == 200


def _post(url: str, path: str, body: object) -> Any:
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{path}",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def _logged(model: Model, experiment: str) -> Callable[[Connection], Awaitable[bool]]:
    async def call(connection: Connection) -> bool:
        json_, bytes_ = "content-type: application/json\r\n", "content-type: application/octet-stream\r\n"
        root = "/api/2.0/mlflow/runs/"
        asked = {"experiment_id": experiment, "start_time": int(time.time() * 1000), "run_name": model.name}
        status, answer = await _ask(connection, "POST", root + "create", json.dumps(asked).encode(), json_)
        if status != 200:
            return False
        run = json.loads(answer)["run"]["info"]["run_id"]
        for path, data in model.files.items():
            to = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/{path}"
            status, _ = await _ask(connection, "PUT", to, data, bytes_)
            if status != 200:
                return False
        ended = {"run_id": run, "status": "FINISHED", "end_time": int(time.time() * 1000)}
        status, _ = await _ask(connection, "POST", root + "update", json.dumps(ended).encode(), json_)
        return status == 200

    return call


# --- both


async def _together(url: str, calls: list[Callable[[Connection], Awaitable[bool]]]) -> dict[str, Any]:
    """All at once, each on a connection of its own that is open before."""
    connections = [await connect(url) for _ in calls]
    times: list[float] = []

    async def one(call: Callable[[Connection], Awaitable[bool]], connection: Connection) -> bool:
        began = time.perf_counter()
        try:
            right = await call(connection)
        except (ConnectionError, ValueError):
            return False
        times.append(time.perf_counter() - began)
        return right

    began = time.perf_counter()
    async with asyncio.timeout(_PATIENCE):
        right = await asyncio.gather(*map(one, calls, connections))
    whole = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return {"seconds": whole, "times": times, "acknowledged": sum(right), "asked": len(calls)}


async def _ask(
    connection: Connection, method: str, path: str, body: bytes, headers: str
) -> tuple[int, bytes]:
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return await connection.ask(head.encode() + body)


def _processor(leader: int) -> float:
    """Seconds of processor time of all that runs in the process group of ``leader``, its ended children too."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader:
                total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def _each(result: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for setting in SETTINGS:
        yield f"Modelyard ({setting})", result["found"][setting]
    if result["peer"] is not None and "failed" not in result["peer"]:
        yield MLFLOW.title, result["peer"]


def tables(result: dict[str, Any]) -> list[Table]:
    rows = [
        (
            name,
            f"{told['acknowledged']:,} of {told['asked']:,}",
            f"{quantile(told['times'], 0.5):.2f} s",
            f"{quantile(told['times'], 0.99):.2f} s",
            f"{told['acknowledged'] / told['seconds']:,.0f}",
            f"{1e3 * told['processor'] / told['asked']:.0f} ms",
        )
        for name, told in _each(result)
    ]
    if result["peer"] is not None and "failed" in result["peer"]:
        rows.append((MLFLOW.title, f"did not run: {result['peer']['failed']}", "", "", "", ""))
    kept = [
        (
            setting,
            f"{told['rows']['versions']:,} of {told['rows']['wanted']:,}",
            f"{told['lost']['lost']}",
            f"{told['lost']['blobs']:,} of {told['lost']['needed']:,}",
            f"{told['lost']['objects']:,}",
            f"{told['verified']['troubles']}",
        )
        for setting, told in result["found"].items()
    ]
    header = ("", "acknowledged", "p50", "p99", "a second", "processor, each")
    after = ("afterwards", "versions", "not byte for byte", "blobs", "objects", "found by verify --deep")
    return [Table(f"{result['callers']:,} callers at once", header, rows), Table("", after, kept)]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    found = list(result["found"].values())
    missing = sum(told["asked"] - told["acknowledged"] + told["lost"]["lost"] for told in found)
    double = sum(
        abs(told["rows"]["versions"] - told["rows"]["wanted"])
        + abs(told["lost"]["blobs"] - told["lost"]["needed"])
        for told in found
    )
    troubles = sum(told["verified"]["troubles"] for told in found)
    return [
        at_most("of all uploads none is refused or lost", missing, 0, "", 0),
        at_most("no version and no blob is there twice", double, 0, "", 0),
        at_most("the store verifies", troubles, 0, "", 0),
    ]
