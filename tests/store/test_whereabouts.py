"""A shared database says where its bytes are, and holds those to it who would look elsewhere."""

import threading
from pathlib import Path

import pytest

from modelyard.core.errors import Conflict
from modelyard.store import whereabouts
from modelyard.store.database import Database
from support.postgres import PASSWORD


def test_the_first_one_says_and_the_others_are_told(shared: Database, tmp_path: Path) -> None:
    whereabouts.require(shared, "s3://a/b")
    whereabouts.require(shared, "s3://a/b")
    with pytest.raises(Conflict, match="let the setting blobs be s3://a/b") as caught:
        whereabouts.require(shared, whereabouts.folder_of(tmp_path))
    assert PASSWORD not in str(caught.value)
    with shared.begin() as session:
        whereabouts.note(session, whereabouts.folder_of(tmp_path))
    whereabouts.require(shared, whereabouts.folder_of(tmp_path))
    for other in ("s3://a/b", whereabouts.folder_of(tmp_path / "other")):
        with pytest.raises(Conflict, match="mount that folder"):
            whereabouts.require(shared, other)


def test_a_folder_is_known_wherever_it_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "there").symlink_to(tmp_path / "here")
    assert whereabouts.folder_of(tmp_path / "here") == whereabouts.folder_of(tmp_path / "there")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["id"]


def test_two_that_start_at_once_agree(shared: Database, tmp_path: Path) -> None:
    found: list[str] = []
    refused: list[str] = []
    barrier = threading.Barrier(8)

    def start(number: int) -> None:
        barrier.wait(60)
        found.append(whereabouts.folder_of(tmp_path / "one"))
        try:
            whereabouts.require(shared, f"s3://bucket/{number % 2}")
        except Conflict:
            refused.append(f"s3://bucket/{number % 2}")

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(found)) == 1 and len(found) == 8
    assert len(refused) == 4 and len(set(refused)) == 1
