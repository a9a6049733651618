"""The fetch stage beside the time that an upload is kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.core.errors import NotFound
from modelyard.pipeline.fetching import FETCH, Fetching
from modelyard.pipeline.parameters import DeployParameters
from modelyard.pipeline.run import Run
from modelyard.registry.upload import collect_garbage
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.jobs import Jobs
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions
from support.registry import Clock

ENTRY = "resnet50-onnx"
FILES = {"model.onnx": b"not looked at here", "notes.txt": b"more"}
LIFETIME = 100.0


class Desk:
    """The stage with what it needs, in a process that has died as often as :meth:`run` is called."""

    def __init__(self, place: Path | str, home: Path) -> None:
        for name, data in FILES.items():
            (home / "mirror" / ENTRY).mkdir(parents=True, exist_ok=True)
            (home / "mirror" / ENTRY / name).write_bytes(data)
        self.clock = Clock()
        self.database = Database(place)
        self.database.migrate()
        self.blobs = BlobStore(home / "blobs")
        self.versions = Versions(self.database)
        self.uploads = Uploads(self.database, lifetime=LIFETIME, clock=self.clock)
        self.jobs = Jobs(self.database)
        self.job = self.jobs.create("deploy", "e", (FETCH, "register"), {})
        self.fetching = Fetching(home / "catalog", str(home / "mirror"), self.blobs, self.uploads)

    def run(self) -> str:
        """The id of the upload that the stage brings."""
        claimed = self.jobs.claim("me0", 0.0, 1000.0) or self.job
        run = Run(claimed, self.jobs, "me0", lambda _: None)
        brought = self.fetching(run, DeployParameters(endpoint="e", model="e"), ENTRY, "default")
        assert brought.upload is not None
        return brought.upload

    def collect(self) -> None:
        """What the janitor does: uploads whose time is over are forgotten, and what nothing refers to is deleted."""
        self.uploads.expire(self.clock())
        collect_garbage(self.blobs, self.uploads, self.versions)

    def is_whole(self, upload: str) -> bool:
        files = self.uploads.get(upload).manifest.files
        return {file.path for file in files} == set(FILES) and all(
            self.blobs.has(file.sha256) for file in files
        )


@pytest.fixture
def desk(place: Path | str, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(place, tmp_path)
    yield made
    made.database.close()


def test_what_was_fetched_before_a_kill_is_not_fetched_again(desk: Desk) -> None:
    first = desk.run()
    desk.collect()
    assert desk.run() == first and desk.is_whole(first)


def test_an_upload_that_expired_while_the_platform_was_down_is_made_again(desk: Desk) -> None:
    first = desk.run()
    desk.clock.now += LIFETIME + 1
    desk.collect()
    with pytest.raises(NotFound):
        desk.uploads.get(first)
    assert list(desk.blobs.digests()) == []
    second = desk.run()
    assert second != first and desk.is_whole(second)


def test_an_upload_whose_time_is_over_but_is_there_is_kept_for_the_registration(desk: Desk) -> None:
    first = desk.run()
    desk.clock.now += LIFETIME + 1
    assert desk.run() == first
    desk.collect()  # the janitor comes between this stage and the next
    assert desk.is_whole(first)


def test_an_upload_does_not_expire_while_its_files_are_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = desk.blobs.put

    def slowly(*given, **more):
        desk.clock.now += LIFETIME * 0.75
        kept = put(*given, **more)
        desk.collect()
        return kept

    monkeypatch.setattr(desk.blobs, "put", slowly)
    assert desk.is_whole(desk.run())
