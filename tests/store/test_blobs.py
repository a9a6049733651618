"""The blob store: whole or not there, whatever happens to its writers."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.store.blobs import BlobStore
from support.node import wait_until

BIG = 9_000_000  # more than the parts that the object store writes at once


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _leftovers(blobs_root: Path) -> list[Path]:
    return [
        path for path in (blobs_root / "incoming").rglob("*") if path.is_file() and path.name != ".owner"
    ]


def test_what_was_put_can_be_read_whole(blobs: BlobStore) -> None:
    data = os.urandom(BIG)
    found = blobs.put([data[:5], data[5:4_000_000], data[4_000_000:]])
    assert (found.sha256, found.size) == (_digest(data), BIG)
    assert b"".join(blobs.open(found.sha256)) == data


def test_an_empty_blob_is_a_blob(blobs: BlobStore) -> None:
    found = blobs.put([])
    assert (found.size, list(blobs.digests())) == (0, [_digest(b"")])
    assert b"".join(blobs.open(found.sha256)) == b""
    assert blobs.read(found.sha256, 0, 10) == b""


@pytest.mark.parametrize(("offset", "length"), [(0, 3), (7, 3), (8, 100), (10, 5), (99, 1), (3, 0)])
def test_a_range_is_cut_at_the_end(blobs: BlobStore, offset: int, length: int) -> None:
    data = b"0123456789"
    assert blobs.read(blobs.put([data]).sha256, offset, length) == data[offset : offset + length]


def test_a_blob_is_kept_once(blobs: BlobStore) -> None:
    blobs.put([b"same"])
    blobs.put([b"sa", b"me"])
    assert list(blobs.digests()) == [_digest(b"same")]
    assert _leftovers(blobs._root) == []  # pyright: ignore[reportPrivateUsage]


def test_a_known_digest_is_not_even_read(blobs: BlobStore) -> None:
    blobs.put([b"known"])

    def never() -> Iterator[bytes]:
        raise AssertionError("the bytes were asked for")
        yield b""

    assert blobs.put(never(), sha256=_digest(b"known"), size=5).size == 5


def test_a_known_digest_of_another_size_is_refused(blobs: BlobStore) -> None:
    blobs.put([b"known"])
    with pytest.raises(InvalidInput, match="5 bytes, not 6") as caught:
        blobs.put([b"known"], sha256=_digest(b"known"), size=6)
    assert caught.value.field == "size"


@pytest.mark.parametrize(
    ("sha256", "size", "field"),
    [(_digest(b"other"), 4, "sha256"), (_digest(b"data"), 3, "size"), (_digest(b"data"), 5, "size")],
)
def test_bytes_that_are_not_what_was_announced_are_refused(
    blobs: BlobStore, sha256: str, size: int, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        blobs.put([b"da", b"ta"], sha256=sha256, size=size)
    assert caught.value.field == field
    assert list(blobs.digests()) == []
    assert _leftovers(blobs._root) == []  # pyright: ignore[reportPrivateUsage]


def test_a_source_that_breaks_leaves_nothing(blobs: BlobStore) -> None:
    def broken() -> Iterator[bytes]:
        yield os.urandom(BIG)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.put(broken())
    assert list(blobs.digests()) == []
    assert _leftovers(blobs._root) == []  # pyright: ignore[reportPrivateUsage]


def test_a_blob_that_is_not_there_is_not_found(blobs: BlobStore) -> None:
    digest = _digest(b"nowhere")
    for call in (blobs.size, blobs.open, blobs.verify, lambda each: blobs.read(each, 0, 1)):
        with pytest.raises(NotFound):
            call(digest)
    assert not blobs.has(digest)
    blobs.delete(digest)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "AB" * 32, "ab", ""])
def test_a_digest_that_is_none_never_becomes_a_path(blobs: BlobStore, digest: str) -> None:
    for call in (blobs.size, blobs.open, blobs.verify, blobs.delete, blobs.has):
        with pytest.raises(InvalidInput):
            call(digest)


def test_verify_sees_one_flipped_bit(blobs: BlobStore) -> None:
    digest = blobs.put([os.urandom(BIG)]).sha256
    assert blobs.verify(digest)
    place = blobs._root / "objects" / digest[:2] / digest  # pyright: ignore[reportPrivateUsage]
    place.chmod(0o644)
    with place.open("r+b") as file:
        file.seek(BIG - 1)
        last = file.read(1)[0]
        file.seek(BIG - 1)
        file.write(bytes([last ^ 1]))
    assert not blobs.verify(digest)


def test_a_blob_is_on_the_disk_before_it_has_its_name(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = _digest(b"durable")
    place = blobs._root / "objects" / digest[:2] / digest  # pyright: ignore[reportPrivateUsage]
    synced: list[tuple[str, bool]] = []

    def fsync(descriptor: int, real: object = os.fsync) -> None:
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), place.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    blobs.put([b"durable"])
    file, *folders = synced
    assert "/incoming/" in file[0]
    assert file[1] is False
    assert folders[-1] == (str(place.parent), True)


async def _stream(data: bytes, step: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        await asyncio.sleep(0)
        yield data[start : start + step]


def test_a_stream_becomes_the_same_blob(blobs: BlobStore) -> None:
    data = os.urandom(BIG)
    found = asyncio.run(blobs.put_stream(_stream(data), sha256=_digest(data), size=BIG))
    assert b"".join(blobs.open(found.sha256)) == data


def test_a_stream_of_the_wrong_bytes_is_refused(blobs: BlobStore) -> None:
    with pytest.raises(InvalidInput):
        asyncio.run(blobs.put_stream(_stream(b"wrong"), sha256=_digest(b"right"), size=5))
    assert list(blobs.digests()) == []


def test_a_cancelled_stream_leaves_nothing(blobs: BlobStore) -> None:
    async def cancel() -> None:
        began = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 300_000
                began.set()
                await asyncio.sleep(0)

        task = asyncio.create_task(blobs.put_stream(endless()))
        await began.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert list(blobs.digests()) == []
    assert _leftovers(blobs._root) == []  # pyright: ignore[reportPrivateUsage]


WRITER = """
import os, sys
from pathlib import Path
from modelyard.store.blobs import BlobStore

def chunks():
    yield os.urandom(6_000_000)
    print("half", flush=True)
    sys.stdin.readline()
    yield b"end"

print(BlobStore(Path(sys.argv[1])).put(chunks()).sha256, flush=True)
"""


def _writer(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    return process


def test_a_killed_writer_leaves_no_blob_and_its_space_comes_back(blobs: BlobStore, tmp_path: Path) -> None:
    process = _writer(tmp_path / "blobs")
    # The object store writes behind the writer's back.
    wait_until(
        lambda: sum(path.stat().st_size for path in _leftovers(tmp_path / "blobs")),
        what="bytes on the disk",
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(blobs.digests()) == []
    assert blobs.sweep() == 1
    assert list((tmp_path / "blobs" / "incoming").iterdir()) == []


def test_sweeping_does_not_touch_a_writer_that_lives(blobs: BlobStore, tmp_path: Path) -> None:
    process = _writer(tmp_path / "blobs")
    assert blobs.sweep() == 0
    output, _ = process.communicate("go on\n")
    assert process.returncode == 0
    assert list(blobs.digests()) == [output.strip()]
    assert blobs.verify(output.strip())


def test_a_writer_that_ends_well_leaves_no_folder(tmp_path: Path) -> None:
    process = _writer(tmp_path / "blobs")
    process.communicate("go on\n")
    assert list((tmp_path / "blobs" / "incoming").iterdir()) == []


def test_sweeping_does_not_touch_the_writer_of_this_process(blobs: BlobStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield os.urandom(6_000_000)
        assert blobs.sweep() == 0
        assert BlobStore(blobs._root).sweep() == 0  # pyright: ignore[reportPrivateUsage]
        yield b"end"

    assert blobs.verify(blobs.put(chunks()).sha256)
