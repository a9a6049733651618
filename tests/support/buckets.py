"""What is done to blobs in a bucket of every cloud: faults between, and writers that are killed."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelyard.core.errors import Unavailable
from modelyard.core.manifest import Manifest
from modelyard.store import repacking
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.checking import Check
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from support import weights
from support.fault_proxy import FaultProxy
from support.s3 import S3Server
from support.stores import stored


@contextmanager
def a_bucket_server(folder: Path) -> Iterator[S3Server]:
    """A server of S3 that has the bucket ``yard``, and that this process's variables name meanwhile."""
    with S3Server(folder / "server") as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.variables.items():
            patch.setenv(name, value)
        first = folder / "first"
        first.write_bytes(b"it makes a bucket when something is put into it")
        open_bucket("s3://yard/first").keep(first, "first")
        yield running


def fill_through_faults(store: BlobStore, proxy: FaultProxy, uploads: int) -> None:
    """Of a hundred requests ten are answered 500, ten drop, ten are slow; what was said to be kept is right."""
    proxy.fail, proxy.drop, proxy.slow = 0.1, 0.1, 0.1
    kept: dict[str, bytes] = {}
    refused = 0
    for number in range(uploads):
        data = (
            weights.safetensors(weights.tensors(number, count=2, rows=300))
            if number % 4
            else os.urandom(2000)
        )
        digest = hashlib.sha256(data).hexdigest()
        try:
            store.put([data])
            kept[digest] = data
        except Unavailable:
            refused += 1
            assert not store.has(digest) or store.verify(digest)
    proxy.heal()
    assert min(proxy.counts["fail"], proxy.counts["drop"], proxy.counts["slow"]) > uploads // 20, (
        proxy.counts
    )
    assert len(kept) >= 0.75 * uploads
    for digest, data in kept.items():
        store.cache.remove(digest)
        assert b"".join(store.open(digest)) == data
    assert set(store.digests()) >= set(kept)
    assert all(store.verify(digest) for digest in store.digests())


def damage(store: BlobStore, data: bytes) -> None:
    """One bit of ``data``, the only object in the bucket, is another from here on."""
    (object_,) = store.place.objects("objects")
    wrong = bytearray(data)
    wrong[len(wrong) // 2] ^= 1
    spoil = store.incoming()
    spoil.write_bytes(wrong)
    store.place.keep(spoil, object_.key)


@contextmanager
def made_anew(folder: Path, address: str, *manifests: Manifest) -> Iterator[BlobStore]:
    """The blobs by rows that were lost, and are made anew of what is in the bucket."""
    database = Database(folder / "new.db")
    database.migrate()
    pieces = Pieces(database)
    store = BlobStore(folder / "three", pieces, open_bucket(address))
    sizes = {file.sha256: file.size for each in manifests for file in each.files}
    assert Check(store, pieces, deep=True, repair=True).run(sizes).troubles == ()
    yield store
    database.close()


WRITERS = """
import os, random, sys
from pathlib import Path
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from support import weights
from support.stores import put
home, database, address = sys.argv[1:]
place = database if "://" in database else Path(database)
whole = weights.tensors(1, rows=512)

def write(seed):
    store = BlobStore(Path(home), Pieces(Database(place)), open_bucket(address) if address else None)
    kept = []
    random.seed(seed)
    print("ready", os.getpid(), flush=True)
    for number in range(1000):
        data = weights.safetensors(weights.tuned(whole, number % 3, seed * 1000 + number))
        manifest = put(store, {"a": data})
        print(manifest.files[0].sha256, flush=True)
        kept.append(manifest.files[0].sha256)
        if number % 4 == 3:
            gone = kept.pop(random.randrange(len(kept)))
            print("-" + gone, flush=True)
            store.delete(gone)
            store.tidy()
        if number % 5 == 4:
            store.cool(random.choice(kept))

# A writer is forked where all is imported and nothing is open: its start is no part of what is tried.
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        write(int(line))
    os.waitpid(pid, 0)
    print("ended", flush=True)
"""


def kill_writers(store: BlobStore, home: Path, place: Path | str, bucket: str, *, kills: int) -> None:
    """kill -9 at random instants of uploads, deletions, packing anew and cooling: what was acknowledged and not
    deleted is there, whatever is visible is right, and what is left over goes."""
    assert store.pieces is not None
    root = Path(__file__).parents[1]
    told: set[str] = set()
    deletions: list[str] = []
    chance = random.Random(5)
    writers = subprocess.Popen(
        [sys.executable, "-c", WRITERS, str(home), str(place), bucket],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    with writers:
        assert writers.stdin is not None and writers.stdout is not None
        for seed in range(kills):
            writers.stdin.write(f"{seed}\n")
            writers.stdin.flush()
            ready, pid = writers.stdout.readline().split()
            assert ready == "ready"
            lines = [writers.stdout.readline() for _ in range(2 + 3 * seed)]
            time.sleep(chance.random() * 0.3)
            os.kill(int(pid), signal.SIGKILL)
            lines += iter(writers.stdout.readline, "ended\n")
            lines = [line.strip() for line in lines]
            told |= {line for line in lines if len(line) == 64}
            deletions += [line[1:] for line in lines if line[:1] == "-"]
        writers.stdin.close()
    assert len(told) > 4 * kills or kills < 4
    told -= set(deletions)
    store.sweep()
    visible = set(store.digests())
    assert told <= visible
    assert all(store.verify(digest) for digest in visible)
    print(
        f"{kills} kills, {len(told)} blobs acknowledged, {len(deletions)} deleted, {len(visible)} visible"
    )
    repacking.tidy(
        store.place, store.pieces, store.incoming, clock=lambda: time.time() + 2 * repacking.GRACE
    )
    assert all(store.verify(digest) for digest in visible)
    collect_all(store)
    assert stored(store) == 0


def collect_all(store: BlobStore) -> None:
    for _ in range(2):
        for digest in list(store.digests()):
            store.delete(digest)
        store.tidy()
