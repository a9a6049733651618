"""Mirrors in folders, in buckets of S3, Google and Azure, and behind a web server: whole or not there."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from modelyard.core.errors import (
    Forbidden,
    InvalidInput,
    ModelyardError,
    RejectedContent,
    Unavailable,
)
from modelyard.package import https
from modelyard.pipeline.mirror import bring, manifest, mirror, place_at, prepare
from modelyard.pipeline.mirror import bucket as room
from modelyard.pipeline.mirror.folder import FolderPlace
from modelyard.pipeline.mirror.manifest import EntryManifest, decode, encode
from support.clouds import Clouds, store_at
from support.web import Web

FILES = {"config.json": b"{}", "weights/a b+c%[1]~ü.bin": os.urandom(100_000), "empty": b""}
SOURCE = {"hub": "owner/tiny"}


def in_bucket(scheme: str, clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address in a bucket that only this test uses."""
    for name, value in clouds.at(scheme).variables.items():
        monkeypatch.setenv(name, value)
    return f"{scheme}://models/{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"


@pytest.fixture
def bucket(clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return in_bucket("s3", clouds, tmp_path, monkeypatch)


@pytest.fixture(params=["s3", "gs", "az"])
def any_bucket(
    request: pytest.FixtureRequest, clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    return in_bucket(request.param, clouds, tmp_path, monkeypatch)


@pytest.fixture(params=["folder", "s3", "gs", "az", "web"])
def somewhere(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator["Mirror"]:
    monkeypatch.setattr(https, "FIRST_WAIT", 0.01)
    if request.param in ("s3", "gs", "az"):
        yield Mirror(
            tmp_path, in_bucket(request.param, request.getfixturevalue("clouds"), tmp_path, monkeypatch)
        )
        return
    made = Mirror(tmp_path, str(tmp_path / "mirror"))
    if request.param == "folder":
        yield made
        return
    made.web = Served(tmp_path / "mirror")
    with made.web.serve() as url:
        made.read_at = f"{url}/"
        yield made


class Served(Web):
    """A web server over a folder."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.files = _Folder(root)  # type: ignore[assignment]


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, path: str) -> bytes | None:
        from urllib.parse import unquote

        place = self.root / unquote(path).lstrip("/")
        return place.read_bytes() if place.is_file() else None


class Mirror:
    """One that entries are put into at ``address`` and brought out of at ``read_at``."""

    def __init__(self, tmp_path: Path, address: str) -> None:
        self.address = self.read_at = address
        self.web: Web | None = None
        self.tmp_path = tmp_path
        self.said: list[str] = []
        self.fetched = 0

    def put(
        self, files: dict[str, bytes] = FILES, source: dict[str, Any] = SOURCE, name: str = "tiny"
    ) -> str:
        def fetch(staging: Path) -> tuple[Path, str]:
            if not (staging / name).is_dir():
                self.fetched += 1
                write(staging / name, files)
            return staging / name, "c0ffee"

        return prepare(
            place_at(self.address), name, source, fetch, self.tmp_path / "staging", self.said.append
        )  # type: ignore[arg-type]

    def bring(self, name: str = "tiny") -> Path | None:
        return bring(self.read_at, name, self.tmp_path / "home", self.said.append)

    def object(self, path: str, data: bytes | None) -> None:
        """Replace or remove what lies at a path in it."""
        if "://" in self.address:
            store = store_at(self.address)
            if data is None:
                obstore.delete(store, path)
            else:
                obstore.put(store, path, data)
        elif data is None:
            (Path(self.address) / path).unlink()
        else:
            (Path(self.address) / path).write_bytes(data)


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_put_in_is_brought_out(somewhere: Mirror) -> None:
    assert somewhere.put() == f"{somewhere.address}/tiny"
    place = somewhere.bring()
    assert place is not None
    assert place.name == "tiny"
    assert contents(place) == FILES
    stated = place_at(somewhere.address).manifest("tiny")
    assert stated is not None
    told = decode(stated, "tiny", "x")
    assert (told.source, told.revision, told.size) == (SOURCE, "c0ffee", 100_002)
    assert somewhere.bring("other") is None
    left = somewhere.tmp_path / "staging"
    assert not left.exists() or contents(left) == {}


def test_twice_is_once(somewhere: Mirror) -> None:
    somewhere.put()
    somewhere.put()
    assert somewhere.fetched == 1
    first = somewhere.bring()
    before = 0 if somewhere.web is None else len(somewhere.web.asked)
    assert first is not None
    inode = (first / "config.json").stat().st_ino
    assert somewhere.bring() == first
    assert (first / "config.json").stat().st_ino == inode
    if somewhere.web is not None:
        assert [path for path, _ in somewhere.web.asked[before:]] == ["/tiny.manifest.json"]


def test_another_source_replaces_it_and_leaves_nothing_of_the_former(somewhere: Mirror) -> None:
    somewhere.put()
    old = somewhere.bring()
    assert old is not None
    changed = {"config.json": b"{}", "model.bin": b"new"}
    somewhere.put(changed, {"hub": "owner/other"})
    assert somewhere.fetched == 2
    place = somewhere.bring()
    assert place is not None
    assert contents(place) == changed
    if "://" in somewhere.address:
        listed = obstore.list(place_at(somewhere.address)._store, "tiny/")  # type: ignore[attr-defined]
        assert sorted(each["path"] for some in listed for each in some) == [
            "tiny/config.json",
            "tiny/model.bin",
        ]


@pytest.mark.parametrize("data", [b'{"a":1}', b"", None, b"[]"])
def test_a_file_that_is_not_as_its_manifest_says_is_not_used(somewhere: Mirror, data: bytes | None) -> None:
    somewhere.put()
    somewhere.object("tiny/config.json", data)
    with pytest.raises(RejectedContent):
        somewhere.bring()
    assert not (somewhere.tmp_path / "home" / ".mirrored" / "tiny").exists()


def test_without_its_manifest_it_is_not_in_a_mirror_elsewhere(somewhere: Mirror) -> None:
    somewhere.put()
    somewhere.object("tiny.manifest.json", None)
    if somewhere.read_at == somewhere.address and "://" not in somewhere.address:
        assert somewhere.bring() is not None  # a folder may have been put there by hand
    else:
        assert somewhere.bring() is None


def test_what_was_left_of_another_source_is_not_passed_off_as_it(
    somewhere: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = type(place_at(somewhere.address))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(place, "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        somewhere.put({"config.json": b"old"}, {"hub": "owner/old"})
    somewhere.put()
    found = somewhere.bring()
    assert found is not None
    assert contents(found) == FILES


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_kill_leaves_nothing_to_be_seen_and_is_gone_on_with(
    somewhere: Mirror, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three files, or the manifest, is not put."""
    place = type(place_at(somewhere.address))
    real, commit, puts = place.put, place.commit, []  # type: ignore[attr-defined]

    def put(self: object, name: str, file: Any, *rest: Any) -> None:
        if len(puts) == stop:
            raise KeyboardInterrupt
        puts.append(file.path)
        real(self, name, file, *rest)

    def interrupted(self: object, manifest: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(place, "put", put) if stop < 2 else patch.setattr(place, "commit", interrupted)
        somewhere.put()
    if stop < 3 and "://" in somewhere.address:
        assert somewhere.bring() is None
    else:
        assert not (Path(somewhere.address) / "tiny").exists()
    assert place.commit is commit
    somewhere.put()
    assert somewhere.fetched == 1  # what was fetched is kept
    found = somewhere.bring()
    assert found is not None
    assert contents(found) == FILES


def test_what_is_no_mirror_is_told(somewhere: Mirror) -> None:
    with pytest.raises(InvalidInput, match=r"no folder|no mirror at"):
        somewhere.bring()


def test_what_a_mirror_had_serves_while_it_cannot_be_reached(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Mirror(tmp_path, bucket)
    made.put()
    made.put(name="other")
    made.bring()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("modelyard.store.clouds.RETRIES", 0)
    place = made.bring()
    assert place is not None
    assert contents(place) == FILES
    assert any("cannot be reached" in line for line in made.said)
    with pytest.raises(Unavailable, match="AWS_ENDPOINT_URL"):
        made.bring("other")


# --- buckets


def test_a_large_file_goes_in_parts_and_comes_on_from_where_it_was_broken_off(
    any_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(40_000_000)
    made = Mirror(tmp_path, any_bucket)
    made.put({"model.bin": data})
    real, ranges = room.BucketPlace._range, []

    def once(self: room.BucketPlace, name: str, file: Any, start: int, end: int) -> bytes:
        ranges.append((start, end))
        if start:
            raise KeyboardInterrupt
        return real(self, name, file, start, end)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(room.BucketPlace, "_range", once)
        made.bring()
    assert not (tmp_path / "home" / ".mirrored" / "tiny").exists()

    def counted(self: room.BucketPlace, name: str, file: Any, start: int, end: int) -> bytes:
        ranges.append((start, end))
        return real(self, name, file, start, end)

    monkeypatch.setattr(room.BucketPlace, "_range", counted)
    place = made.bring()
    assert place is not None
    assert (place / "model.bin").read_bytes() == data
    half = 32 << 20
    assert ranges == [(0, half), (half, 40_000_000), (half, 40_000_000)]


def test_what_was_kept_of_another_file_is_no_part_of_it(bucket: str, tmp_path: Path) -> None:
    made = Mirror(tmp_path, bucket)
    made.put({"model.bin": b"hello"})
    digest = hashlib.sha256(b"hello").hexdigest()
    write(
        tmp_path / "home" / ".mirrored" / ".preparing" / "coming" / "tiny",
        {f".{digest[:16]}.partial": b"HE"},
    )
    place = made.bring()
    assert place is not None
    assert contents(place) == {"model.bin": b"hello"}


def test_what_was_sent_is_not_sent_again(
    any_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Mirror(tmp_path, any_bucket)
    made.put()
    made.object("tiny.manifest.json", None)
    sent: list[str] = []
    real = obstore.put
    monkeypatch.setattr(
        room.obstore,
        "put",
        lambda store, key, *rest, **more: (sent.append(key), real(store, key, *rest, **more)),
    )
    made.put()
    assert sent == ["tiny.manifest.json"]


def test_who_may_not_is_told(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Forbidden, match="AWS_ACCESS_KEY_ID") as told:
        Mirror(tmp_path, bucket).bring()
    assert "wrong" not in told.value.message


# --- a folder


def test_a_folder_made_by_hand_is_a_mirror(tmp_path: Path) -> None:
    write(tmp_path / "mirror" / "tiny", FILES)
    made = Mirror(tmp_path, str(tmp_path / "mirror"))
    assert made.bring() == tmp_path / "mirror" / "tiny"
    made.put()  # and gets its manifest
    assert made.fetched == 0
    assert (tmp_path / "mirror" / "tiny.manifest.json").is_file()
    (tmp_path / "mirror" / "tiny" / "link").symlink_to("config.json")
    (tmp_path / "mirror" / "tiny.manifest.json").unlink()
    made.put()
    assert made.bring() is not None  # links inside are files
    (tmp_path / "mirror" / "tiny" / "more").write_text("x")
    with pytest.raises(RejectedContent, match="more"):
        made.bring()
    made.put()  # which makes it anew
    place = made.bring()
    assert place is not None
    assert contents(place) == FILES


def test_a_mirror_is_filled_from_another_without_touching_it(tmp_path: Path) -> None:
    write(tmp_path / "one" / "tiny", FILES)
    place = FolderPlace(tmp_path / "two")
    told: list[str] = []
    prepare(
        place,
        "tiny",
        SOURCE,
        lambda _: (tmp_path / "one" / "tiny", None),
        tmp_path / "staging",
        told.append,
    )
    assert contents(tmp_path / "two" / "tiny") == contents(tmp_path / "one" / "tiny") == FILES
    assert (tmp_path / "two/tiny/config.json").stat().st_ino != (
        tmp_path / "one/tiny/config.json"
    ).stat().st_ino


# --- what a mirror may say


@pytest.mark.parametrize(
    "address",
    [
        "ftp://x/y",
        "s3://",
        "s3://A_B/x",
        "gs://",
        "az://x",
        "http://example.org/m",
        "https://example.org/m?x=1",
    ],
)
def test_what_is_no_address_of_a_mirror(address: str) -> None:
    with pytest.raises(InvalidInput):
        place_at(address)


@pytest.mark.parametrize(
    ("scheme", "variable", "allow"),
    [
        ("s3", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"),
        ("gs", "GOOGLE_BASE_URL", "GOOGLE_ALLOW_HTTP"),
        ("gs", "STORAGE_EMULATOR_HOST", "GOOGLE_ALLOW_HTTP"),
        ("az", "AZURE_STORAGE_ENDPOINT", "AZURE_ALLOW_HTTP"),
    ],
)
def test_an_endpoint_in_the_clear_is_for_this_machine(
    scheme: str, variable: str, allow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    monkeypatch.setenv(variable, "http://storage.example.org")
    with pytest.raises(InvalidInput, match=allow):
        place_at(f"{scheme}://models/x")
    monkeypatch.setenv(allow, "true")
    place_at(f"{scheme}://models/x")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"<html>", b"[]", b"{}", b'{"modelyard_mirror": 2, "name": "tiny", "files": []}', b"\xff\xfe", b"[" * 100_000,
        *(
            b'{"name": "tiny", "files": [{"path": "%s", "size": 1, "sha256": "%s"}]}' % (path, b"0" * 64)
            for path in (b"../x", b"/etc/passwd", b"a/../../x", b"a\\\\b", b"a\\u0000", b"")
        ),
        b'{"name": "other", "files": [{"path": "x", "size": 1, "sha256": "%s"}]}' % (b"0" * 64),
        b'{"name": "tiny", "files": [{"path": "x", "size": -1, "sha256": "%s"}]}' % (b"0" * 64),
        b'{"name": "tiny", "files": [{"path": "x", "size": 1, "sha256": "0"}]}',
    ],
)  # fmt: skip
def test_a_manifest_that_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(RejectedContent, match="makes no sense"):
        decode(data, "tiny", "here")


def test_a_mirror_that_promises_more_than_the_disk_has_is_told(tmp_path: Path) -> None:
    huge = manifest.FileEntry(path="x", size=1 << 60, sha256="0" * 64)
    web = Web({"/tiny.manifest.json": encode(EntryManifest(name="tiny", files=(huge,)))})
    with web.serve() as url, pytest.raises(ModelyardError, match="make room first"):
        mirror.bring(url, "tiny", tmp_path, print)
