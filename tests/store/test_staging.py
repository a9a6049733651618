"""Files that come in parts: what is marked as come is right, whatever happened to its sender."""

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from modelyard.store.staging import PART_SIZE, Staging, parts_of

FILE = random.Random(0).randbytes(2 * PART_SIZE + 1000)
SHA = hashlib.sha256(FILE).hexdigest()


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "staged")


def send(staging: Staging, number: int, data: bytes | None = None, digest: str | None = None) -> bool:
    part = FILE[number * PART_SIZE : (number + 1) * PART_SIZE] if data is None else data
    with staging.part(SHA, len(FILE), number) as writer:
        if writer is None:
            return False
        for start in range(0, len(part), 1_000_000):
            writer.write(part[start : start + 1_000_000])
        writer.commit(digest)
    return True


@pytest.mark.parametrize(
    ("size", "parts"), [(0, 1), (1, 1), (PART_SIZE, 1), (PART_SIZE + 1, 2), (3 * PART_SIZE, 3)]
)
def test_a_file_has_as_many_parts(size: int, parts: int) -> None:
    assert parts_of(size) == parts


def test_parts_come_in_any_order_and_are_a_file_in_the_end(staging: Staging) -> None:
    with pytest.raises(NotFound):
        staging.whole(SHA, len(FILE))
    for number in (2, 0):
        assert send(staging, number)
    assert staging.come(SHA, len(FILE)) == [0, 2]
    with pytest.raises(Conflict, match="1 parts of this file have not come: 1"):
        staging.whole(SHA, len(FILE))
    assert send(staging, 1, digest=hashlib.sha256(FILE[PART_SIZE : 2 * PART_SIZE]).hexdigest())
    assert staging.whole(SHA, len(FILE)).read_bytes() == FILE
    assert not send(staging, 1)  # it is here
    assert staging.digests() == {SHA}
    staging.drop(SHA)
    assert (staging.digests(), staging.come(SHA, len(FILE))) == (set(), [])


def test_another_process_finds_what_has_come(staging: Staging, tmp_path: Path) -> None:
    send(staging, 1)
    assert Staging(tmp_path / "staged").come(SHA, len(FILE)) == [1]


@pytest.mark.parametrize(
    ("data", "digest", "said"),
    [
        (b"short", None, "bytes of this part did not come"),
        (FILE[:PART_SIZE] + b"x", None, "More bytes came"),
        (bytes(PART_SIZE), hashlib.sha256(FILE[:PART_SIZE]).hexdigest(), "damaged on their way"),
    ],
    ids=["short", "long", "damaged"],
)
def test_a_part_that_is_not_whole_or_not_right_has_not_come(
    staging: Staging, data: bytes, digest: str | None, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        send(staging, 0, data, digest)
    assert staging.come(SHA, len(FILE)) == []
    assert send(staging, 0)


def test_a_part_that_the_file_has_not_got_is_refused(staging: Staging) -> None:
    for number in (-1, 3):
        with pytest.raises(InvalidInput, match="there is no part"):
            send(staging, number, b"")
    with pytest.raises(InvalidInput), staging.part("../etc", 5, 0):
        pass


def test_of_two_who_send_a_part_one_is_told(staging: Staging) -> None:
    with staging.part(SHA, len(FILE), 0):
        with pytest.raises(Conflict, match="being sent by somebody else"):
            send(staging, 0)
        assert send(staging, 1)
    assert send(staging, 0)


KILLED = """
import sys
from pathlib import Path
from modelyard.store.staging import PART_SIZE, Staging
root, sha, size = sys.argv[1:]
staging = Staging(Path(root))
part = sys.stdin.buffer.read()
with staging.part(sha, int(size), 0) as writer:
    writer.write(part)
    writer.commit()
with staging.part(sha, int(size), 1) as writer:
    writer.write(part[:-1])
    print("now", flush=True)
    sys.stdin.close()
    import time; time.sleep(600)
"""


def test_a_part_whose_receiver_is_killed_is_sent_again_and_the_others_are_not(
    staging: Staging, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "staged"), SHA, str(len(FILE))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(FILE[:PART_SIZE])
    process.stdin.close()
    assert process.stdout.readline() == b"now\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert staging.come(SHA, len(FILE)) == [0]
    for number in (1, 2):
        assert send(staging, number)
    assert staging.whole(SHA, len(FILE)).read_bytes() == FILE


def test_a_full_disk_is_told_and_has_its_room_again(small_disk: Path) -> None:
    """It has eight megabytes: none for the second part. One that is under way then has not come either."""
    staging = Staging(small_disk / "staged")
    free = os.statvfs(small_disk).f_bavail
    assert send(staging, 2)
    with staging.part(SHA, len(FILE), 1) as writer:
        assert writer is not None
        writer.write(FILE[PART_SIZE : PART_SIZE + 1000])
        with pytest.raises(Unavailable, match="disk is full"):
            send(staging, 0)
        assert staging.digests() == set()
        with pytest.raises(InvalidInput, match="did not come"):
            writer.commit()
    assert os.statvfs(small_disk).f_bavail >= free - 4  # all of it, once nobody writes any more
    assert send(staging, 2)
    assert staging.come(SHA, len(FILE)) == [2]


def test_a_part_of_a_file_that_was_dropped_meanwhile_has_not_come(staging: Staging) -> None:
    with staging.part(SHA, len(FILE), 2) as writer:
        assert writer is not None
        writer.write(FILE[2 * PART_SIZE :])
        staging.drop(SHA)
        assert send(staging, 0)
        writer.commit()
    assert staging.come(SHA, len(FILE)) == [0]


def test_two_files_are_two(staging: Staging) -> None:
    send(staging, 0)
    other = hashlib.sha256(b"other").hexdigest()
    assert staging.come(other, len(FILE)) == []
    with staging.part(other, 5, 0) as writer:
        assert writer is not None
        writer.write(b"other")
        writer.commit()
    assert staging.whole(other, 5).read_bytes() == b"other"
    assert staging.digests() == {SHA, other}
