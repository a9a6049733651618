"""What does keeping a model cost? Taking 2 GB in, laying it out, a fine-tuned sibling, the same weights in other files.

Taken in: a process that does nothing else reads a file and keeps it (`BlobStore.put`: hashed, written, flushed);
beside it one that only hashes and writes and flushes, the most that a machine can. The peak of its memory is its
own. Then it is looked at for pieces (what the platform does behind it), laid out by a link; a sibling of which a
tenth of the tensors is other, and the same weights as ONNX with external data and as a torch zip, are taken in and
what the disk has more is counted, with all rows. A sibling is put together of pieces (its bytes compared by their
digest), beside `cp` with a flush. DVC and MLflow keep the same files by their own commands, huggingface_hub's cache gets
them from a server on this machine; a bucket's server gets them once by a plain copy and once by ours.
"""

import contextlib
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.cores import on
from bench.peers.peer import Peer
from bench.plan import Plan
from bench.results import Table, Verdict, at_least, at_most
from bench.statistics import median
from modelyard.store.bucket import open_bucket

BYTES = 2_000_000_000
_TENSORS = 20
DVC = Peer("dvc", "DVC", "", ("dvc>=3.60,<4",))
MLFLOW = Peer("mlflow", "MLflow", "", ("mlflow-skinny>=3,<4", "sqlalchemy>=2,<3", "alembic"))
HUB = Peer("huggingface_hub", "huggingface_hub's cache, from a server here", "", ("huggingface_hub>=1,<2",))

_FLOOR = """
import hashlib, os, sys, time
source, to = sys.argv[1:]
started = time.perf_counter()
hashed = hashlib.sha256()
with open(source, "rb") as file, open(to, "wb") as out:
    while data := file.read(1 << 20):
        hashed.update(data)
        out.write(data)
    out.flush()
    os.fsync(out.fileno())
print(time.perf_counter() - started)
"""

_OURS = """
import json, shutil, sys, time
from pathlib import Path
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.bucket import open_bucket
from modelyard.store.pieces import Pieces
home, bucket, *sources = sys.argv[1:]
database = Database(Path(home) / "modelyard.db")
database.migrate()
store = BlobStore(Path(home) / "blobs", Pieces(database), open_bucket(bucket) if bucket else None)

def chunks(path):
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            yield data

def highest():  # getrusage would tell the memory of whoever started this, too
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

started = time.perf_counter()
kept = [(Path(source).name, store.put(chunks(source))) for source in sources]
taken = time.perf_counter() - started
manifest = Manifest(files=tuple(FileEntry(path=n, size=k.size, sha256=k.sha256) for n, k in sorted(kept)))
peak = highest()
started = time.perf_counter()
store.settle(manifest)
settled = time.perf_counter() - started
shutil.rmtree(Path(home) / "blobs" / "cache", ignore_errors=True)
laid = Path(home) / "laid"
started = time.perf_counter()
store.lay_out(manifest, laid)
laid_out = time.perf_counter() - started
shutil.rmtree(laid)
database.close()
most = highest()
print(json.dumps({"taken": taken, "settled": settled, "laid_out": laid_out, "peak": peak, "most": most}))
"""

_PLAIN = """
import sys, time
from pathlib import Path
import obstore
from obstore.store import S3Store
source, folder = sys.argv[1:]
store = S3Store("bench", prefix="plain", client_options={"allow_http": True})
started = time.perf_counter()
obstore.put(store, "model", Path(source), chunk_size=16 << 20, max_concurrency=4)
taken = time.perf_counter() - started
started = time.perf_counter()
with open(folder + "/fetched", "wb") as file:
    for part in obstore.get(store, "model").stream(min_chunk_size=8 << 20):
        file.write(part)
print(taken, time.perf_counter() - started)
"""

_MLFLOW = """
import os, sys, time
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow
place, *sources = sys.argv[1:]
mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
if mlflow.get_experiment_by_name("bench") is None:
    mlflow.create_experiment("bench", artifact_location=f"file://{place}/artifacts")
mlflow.set_experiment("bench")
started = time.perf_counter()
with mlflow.start_run():
    for source in sources:
        mlflow.log_artifact(source)
print(time.perf_counter() - started)
"""

_HUB = """
import os, sys, time
url, cache, name = sys.argv[1:]
os.environ.update(HF_ENDPOINT=url, HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
from huggingface_hub import snapshot_download
started = time.perf_counter()
snapshot_download(name, cache_dir=cache)
print(time.perf_counter() - started)
"""


def seconds(plan: Plan) -> float:
    return (20 if plan.quick else 120) + plan.repeats * (5 if plan.quick else 60)


def measure(plan: Plan) -> dict[str, Any]:
    size = 200_000_000 if plan.quick else BYTES
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        files = _files(here / "files", size)
        rounds = [_round(here, files) for _ in range(plan.repeats)]
        peers = {
            peer.name: _peer(here / peer.name, peer, keep, kept, files)
            for peer, keep, kept in ((DVC, _dvc, ".dvc/cache"), (MLFLOW, _mlflow, "artifacts"), (HUB, _hub, "cache"))
            if plan.wants(peer.name)
        }  # fmt: skip
        bucket = _bucket(here, files)
    return {"bytes": size, "rounds": rounds, "peers": peers, "bucket": bucket}


def _files(folder: Path, size: int) -> dict[str, list[str]]:
    """The files of four models, by what they are; random bits of float32 as trained weights have them."""
    from support import weights

    folder.mkdir()
    rows = size // _TENSORS // 4096
    whole = weights.tensors(1, count=_TENSORS, rows=rows, columns=1024)
    made: dict[str, list[str]] = {}

    def write(kind: str, name: str, data: bytes) -> None:
        (folder / kind).mkdir(exist_ok=True)
        (folder / kind / name).write_bytes(data)
        made.setdefault(kind, []).append(str(folder / kind / name))

    write("base", "model.safetensors", weights.safetensors(whole))
    write("sibling", "model.safetensors", weights.safetensors(weights.tuned(whole, _TENSORS // 10)))
    model, data = weights.onnx_outside(whole, "model.data")
    write("onnx", "model.onnx", model)
    write("onnx", "model.data", data)
    del model, data
    write("torch", "model.pt", weights.torch_zip(whole))
    subprocess.run(["sync"], check=True)
    return made


def _python(code: str, *arguments: str, python: str = sys.executable, cwd: Path | None = None) -> str:
    done = subprocess.run(
        on(None, [python, "-c", code, *arguments]), check=True, capture_output=True, text=True, cwd=cwd
    )
    return done.stdout.strip().splitlines()[-1]


def _round(here: Path, files: dict[str, list[str]]) -> dict[str, Any]:
    (base,) = files["base"]
    to = here / "floor"
    found: dict[str, Any] = {"floor": float(_python(_FLOOR, base, str(to)))}
    to.unlink()
    started = time.perf_counter()
    subprocess.run(["cp", base, str(to)], check=True)
    found["cp"] = time.perf_counter() - started
    subprocess.run(["sync", str(to)], check=True)
    found["cp_flushed"] = time.perf_counter() - started
    to.unlink()
    home = here / "home"
    home.mkdir()
    before = 0
    for kind, paths in files.items():
        found[kind] = json.loads(_python(_OURS, str(home), "", *paths))
        now = _kept(home)
        found[kind]["added"] = now - before
        before = now
    shutil.rmtree(home)
    return found


def _bucket(here: Path, files: dict[str, list[str]]) -> dict[str, Any]:
    """Once each, to a server of S3 (SeaweedFS) on this machine, which takes the same cores: a plain copy there and
    back, and ours; bytes that the sibling added."""
    from support.s3 import S3Server

    home = here / "in-bucket"
    home.mkdir()
    with S3Server(here / "s3", volumes=400) as server:
        kept = dict(os.environ)
        os.environ.update(server.variables)
        try:
            sent, fetched = map(float, _python(_PLAIN, files["base"][0], str(home)).split())
            place = open_bucket("s3://bench/ours")
            found: dict[str, Any] = {"plain": sent, "fetched": fetched}
            before = 0
            for kind in ("base", "sibling"):
                found[kind] = json.loads(_python(_OURS, str(home), "s3://bench/ours", *files[kind]))
                now = sum(each.size for prefix in ("objects", "packs") for each in place.objects(prefix))
                found[kind]["added"] = now - before
                before = now
        finally:
            os.environ.clear()
            os.environ.update(kept)
    shutil.rmtree(home)
    return found


def _kept(home: Path) -> int:
    """Bytes on the disk but for the cache, which can be made again; rows and all."""
    places = [home / "blobs" / "objects", home / "blobs" / "packs", home / "modelyard.db"]
    return sum(_du(place) for place in places if place.exists())


def _du(place: Path) -> int:
    told = subprocess.run(["du", "-sb", str(place)], check=True, capture_output=True, text=True).stdout
    return int(told.split()[0])


def _peer(
    place: Path,
    peer: Peer,
    keep: Callable[[Path, Path, str, list[str]], float],
    kept: str,
    files: dict[str, list[str]],
) -> dict[str, Any]:
    """Seconds of taking the first in, and the bytes that each added; or why it could not be asked."""
    place.mkdir()
    try:
        python = peer.install()
        found: dict[str, Any] = {"seconds": None, "added": {}}
        before = 0
        for kind, paths in files.items():
            took = keep(python, place, kind, paths)
            found["seconds"] = found["seconds"] or took
            now = _du(place / kept)
            found["added"][kind] = now - before
            before = now
        return found
    except (subprocess.CalledProcessError, OSError) as error:
        told = getattr(error, "stderr", "") or str(error)
        return {"failed": told.strip().splitlines()[-1][:300] if told.strip() else str(error)[:300]}
    finally:
        shutil.rmtree(place)


def _mlflow(python: Path, place: Path, kind: str, paths: list[str]) -> float:
    return float(_python(_MLFLOW, str(place), *paths, python=str(python), cwd=place))


def _hub(python: Path, place: Path, kind: str, paths: list[str]) -> float:
    from support.hub import Hub

    with contextlib.ExitStack() as stack:
        mapped: dict[str, mmap.mmap] = {}
        for path in paths:
            file = stack.enter_context(open(path, "rb"))
            mapped[Path(path).name] = stack.enter_context(
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            )
        hub = Hub({f"bench/{kind}": mapped})
        for data in mapped.values():
            hub.digest(data)  # not in the time that is taken
        url = stack.enter_context(hub.serve())
        return float(
            _python(_HUB, url, str(place / "cache"), f"bench/{kind}", python=str(python), cwd=place)
        )


def _dvc(python: Path, place: Path, kind: str, paths: list[str]) -> float:
    dvc = str(python.with_name("dvc"))
    quiet = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    if not (place / ".dvc").is_dir():
        subprocess.run(
            [dvc, "init", "--no-scm", "-q"], cwd=place, check=True, env=quiet, capture_output=True
        )
    (place / kind).mkdir()
    for path in paths:
        os.link(path, place / kind / Path(path).name)
    started = time.perf_counter()
    subprocess.run(
        [dvc, "add", "-q", kind], cwd=place, check=True, env=quiet, capture_output=True, text=True
    )
    return time.perf_counter() - started


def _median(result: dict[str, Any], *way: str) -> float:
    values = []
    for each in result["rounds"]:
        for step in way:
            each = each[step]
        values.append(float(each))
    return median(values)


def _percent(result: dict[str, Any], kind: str) -> float:
    return 100 * _median(result, kind, "added") / _median(result, "base", "added")


def _formats(result: dict[str, Any]) -> float:
    return _percent(result, "onnx") + _percent(result, "torch")


def tables(result: dict[str, Any]) -> list[Table]:
    size = result["bytes"]

    def speed(*way: str) -> str:
        return f"{size / _median(result, *way) / 1e6:,.0f} MB/s"

    times = [
        ("hashed, written, flushed: nothing else", speed("floor"), ""),
        ("taken in", speed("base", "taken"), f"{_median(result, 'base', 'peak') / 1e6:,.0f} MB"),
        ("looked at for pieces, behind it", speed("base", "settled"), f"{_median(result, 'base', 'most') / 1e6:,.0f} MB"),
        ("laid out whole (a link)", f"{_median(result, 'base', 'laid_out') * 1e3:,.1f} ms", ""),
        ("a sibling put together of pieces, compared, flushed", speed("sibling", "laid_out"), f"{_median(result, 'sibling', 'most') / 1e6:,.0f} MB"),
        ("`cp`", speed("cp"), ""),
        ("`cp`, flushed", speed("cp_flushed"), ""),
    ]  # fmt: skip
    rows = [
        ("Modelyard", speed("base", "taken"), f"{_percent(result, 'sibling'):.1f} %", f"{_formats(result):.1f} %"),
        ("`cp`", speed("cp"), "100.0 %", "200.0 %"),
    ]  # fmt: skip
    for peer in (DVC, MLFLOW, HUB):
        told = result["peers"].get(peer.name)
        if told is None:
            continue
        if "failed" in told:
            rows.append((peer.title, f"did not run: {told['failed']}", "", ""))
            continue
        added = {kind: 100 * value / told["added"]["base"] for kind, value in told["added"].items()}
        rows.append(
            (
                peer.title,
                f"{size / told['seconds'] / 1e6:,.0f} MB/s",
                f"{added['sibling']:.1f} %",
                f"{added['onnx'] + added['torch']:.1f} %",
            )
        )
    bucket = result["bucket"]

    def each(value: float) -> str:
        return f"{size / value / 1e6:,.0f} MB/s"

    there = [
        ("a plain copy", each(bucket["plain"]), each(bucket["fetched"]), "100.0 %"),
        (
            "Modelyard",
            each(bucket["base"]["taken"]),
            each(bucket["base"]["laid_out"]),
            f"{100 * bucket['sibling']['added'] / bucket['base']['added']:.1f} %",
        ),
    ]
    return [
        Table(f"{size / 1e9:,.1f} GB of float32", ("", "", "memory, at most"), times),
        Table(
            "What the disk has more",
            (
                "",
                "taken in",
                "for a sibling, a tenth of its tensors other",
                "for the same as ONNX and torch zip",
            ),
            rows,
        ),
        Table(
            "In a bucket (SeaweedFS on the same cores), once",
            ("", "there", "back, laid out", "for a sibling"),
            there,
        ),
    ]


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    taken = _median(result, "floor") / _median(result, "base", "taken")
    together = _median(result, "cp_flushed") / _median(result, "sibling", "laid_out")
    limit = _median(result, "floor") / _median(result, "sibling", "laid_out")
    return [
        at_least("taken in ≥ 0.8× of hashing and writing alone", taken, 0.8, "×"),
        at_most("memory ≤ 200 MB", _median(result, "base", "peak") / 1e6, 200, " MB", 0),
        at_least("put together of pieces ≥ 0.9× cp, both flushed", together, 0.9, "×"),
        at_least("put together ≥ 0.9× of reading, hashing, writing alone", limit, 0.9, "×"),
        at_most("a sibling adds ≤ 12 %", _percent(result, "sibling"), 12, " %", 1),
        at_most("ONNX and torch zip add ≤ 15 %", _formats(result), 15, " %", 1),
    ]
