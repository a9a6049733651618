"""The bytes of models from a home's disk into a bucket and back: nothing lost, whatever is cut off."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard.control.backup import back_up, restore
from modelyard.control.migrate import EMBEDDED, move
from modelyard.control.move_bytes import move_bytes
from modelyard.control.platform import Platform
from modelyard.core.errors import Conflict, InvalidInput, NotFound, RejectedContent
from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.core.model import Analysis
from modelyard.core.settings import Settings, load_settings
from modelyard.host.lock import ProgramLock
from modelyard.registry.upload import begin
from modelyard.store.bucket import open_bucket
from modelyard.store.checking import Check
from support import weights
from support.buckets import a_bucket_server
from support.failures import MOVE_LASTS, MOVE_STEPS
from support.postgres import PostgresServer
from support.s3 import S3Server
from support.stores import damage

pytestmark = pytest.mark.timeout(300)
WHOLE = weights.tensors(1, rows=256)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with a_bucket_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path) -> str:
    return f"s3://yard/{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with its own database, or with one that a team shares."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("MODELYARD_HOME", str(home))
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create(server.migrated)
        request.addfinalizer(lambda: server.drop(url))
        (home / "modelyard.toml").write_text(f'database = "{url}"\n')
    return home


def silent(text: str) -> None:
    pass


def fill() -> dict[str, bytes]:
    """Versions with small files, a base and its sibling, and an upload on its way; the bytes by digest."""
    platform = Platform(load_settings())
    files = {
        "base": weights.safetensors(WHOLE),
        "tuned": weights.safetensors(weights.tuned(WHOLE, 1)),
        "small": b"a few bytes",
    }
    kept: dict[str, bytes] = {}
    for name, data in files.items():
        put = platform.blobs.put([data])
        manifest = manifest_of([FileEntry(path="a", size=put.size, sha256=put.sha256)])
        platform.versions.add(name, manifest, Analysis(format="f", adapter="a"), False)
        platform.blobs.settle(manifest)
        kept[put.sha256] = data
    under_way = platform.blobs.put([b"on its way"])
    begin(
        platform.uploads,
        platform.blobs,
        [
            FileEntry(path="a", size=10, sha256=under_way.sha256),
            FileEntry(path="b", size=1, sha256="f" * 64),
        ],
    )
    kept[under_way.sha256] = b"on its way"
    platform.blobs.put([b"nobody refers to it"])
    platform.database.close()
    return kept


def require(kept: dict[str, bytes], *, place: str | None) -> None:
    """Every byte is there, read from where it is kept, and served; the store is in order."""
    platform = Platform(load_settings())
    try:
        assert load_settings().blobs == place
        assert platform.blobs.place.name == (place or str(platform.home.blobs))
        for digest, data in kept.items():
            assert b"".join(platform.blobs.open(digest)) == data
            assert platform.blobs.path(digest).read_bytes() == data
        check = Check(platform.blobs, platform.pieces, deep=True, repair=False)
        assert check.run({digest: len(data) for digest, data in kept.items()}).troubles == ()
        new = platform.blobs.put([os.urandom(1000)])
        assert platform.blobs.verify(new.sha256)
        platform.blobs.delete(new.sha256)
        platform.blobs.tidy()
        assert all(platform.blobs.verify(digest) for digest in kept)
    finally:
        platform.database.close()


def test_there_and_back_every_byte_is_there(home: Path, bucket: str) -> None:
    kept = fill()
    config = home / "modelyard.toml"
    config.write_text((config.read_text() if config.exists() else "") + "log_level = 'debug' # ours\n")
    moved = move_bytes(load_settings(), bucket, silent)
    assert (moved.blobs, moved.bytes) == (4, sum(map(len, kept.values())))
    assert not any((home / "blobs" / "objects").glob("??/*")) and any(
        Path(moved.kept).rglob("objects/??/*")
    )
    require(kept, place=bucket)
    assert "# ours" in (home / "modelyard.toml").read_text()
    with pytest.raises(InvalidInput, match="already"):
        move_bytes(load_settings(), bucket, silent)

    back = move_bytes(load_settings(), "disk", silent)
    assert (back.source, back.blobs) == (bucket, 4)
    require(kept, place=None)
    with pytest.raises(Conflict, match="name a prefix that is empty"):
        move_bytes(load_settings(), bucket, silent)
    move_bytes(load_settings(), f"{bucket}-2", silent)
    move_bytes(load_settings(), f"{bucket}-3", silent)
    require(kept, place=f"{bucket}-3")


@pytest.mark.parametrize("home", ["sqlite"], indirect=True)
def test_an_embedded_home_becomes_a_teams_and_comes_back(
    home: Path, bucket: str, postgres: PostgresServer
) -> None:
    kept, team = fill(), postgres.create()
    move(load_settings(), team, silent)
    move_bytes(load_settings(), bucket, silent)
    require(kept, place=bucket)
    move(load_settings(), EMBEDDED, silent)
    require(kept, place=bucket)
    move_bytes(load_settings(), "disk", silent)
    require(kept, place=None)
    postgres.drop(team)


@pytest.mark.parametrize("to", ["bucket", "disk"])
@pytest.mark.parametrize("at", MOVE_STEPS)
def test_a_move_that_is_killed_goes_on_and_no_program_sees_the_half_of_it(
    home: Path, bucket: str, to: str, at: str
) -> None:
    kept = fill()
    target = bucket
    if to == "disk":
        move_bytes(load_settings(), bucket, silent)
        target = "disk"
    former = load_settings().blobs
    code = (
        "import os, sys; from modelyard.control.move_bytes import move_bytes\n"
        "from modelyard.core.settings import load_settings\n"
        f"move_bytes(load_settings(), sys.argv[1], lambda text: os._exit(9) if text.startswith({at!r}) else None)"
    )
    assert subprocess.run([sys.executable, "-c", code, target], check=False).returncode == 9
    if at == MOVE_STEPS[0]:
        require(kept, place=former)  # nothing has become true yet, and the home may be used
        platform = Platform(load_settings())
        put = platform.blobs.put([b"came in between"])
        manifest = manifest_of([FileEntry(path="a", size=put.size, sha256=put.sha256)])
        platform.versions.add("later", manifest, Analysis(format="f", adapter="a"), False)
        platform.database.close()
        kept[put.sha256] = b"came in between"
    else:
        with pytest.raises(Conflict, match=f"modelyard migrate --blobs {target}"):
            Platform(load_settings())
        with pytest.raises(Conflict, match="end that first"):
            move_bytes(load_settings(), f"{bucket}-other", silent)
    move_bytes(load_settings(), target, silent)
    require(kept, place=None if to == "disk" else bucket)


def killed_after(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """``call``, in which the function ``name`` of the module is the last thing that is done."""
    from modelyard.control import move_bytes as module

    done = getattr(module, name)

    def and_killed(*arguments: object) -> object:
        done(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, name, and_killed)
        with pytest.raises(KeyboardInterrupt):
            call()


@pytest.mark.parametrize("last", MOVE_LASTS)
def test_it_goes_on_from_behind_each_of_its_steps(
    home: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    kept = fill()
    if last == "_take":
        move_bytes(load_settings(), bucket, silent)
    target = "disk" if last == "_take" else bucket
    killed_after(lambda: move_bytes(load_settings(), target, silent), monkeypatch, last)
    moved = move_bytes(load_settings(), target, silent)
    assert moved.blobs == 4
    assert target == "disk" or any(Path(moved.kept).rglob("objects/??/*"))
    require(kept, place=None if target == "disk" else bucket)


def test_what_is_damaged_is_named_and_nothing_moves(home: Path, bucket: str) -> None:
    kept = fill()
    digest = hashlib.sha256(b"a few bytes").hexdigest()
    damage(home / "blobs" / "objects" / digest[:2] / digest, 3)
    with pytest.raises(RejectedContent, match=digest):
        move_bytes(load_settings(), bucket, silent)
    del kept[digest]
    require(kept, place=None)


def test_it_does_not_move_under_a_running_control_plane_nor_into_what_is_in_use(
    home: Path, bucket: str
) -> None:
    kept = fill()
    lock = ProgramLock(home / "run", "control")
    lock.acquire()
    with pytest.raises(Conflict, match="modelyard down"):
        move_bytes(load_settings(), bucket, silent)
    lock.release()
    for wrong in ("elsewhere", "http://x/y", "s3://"):
        with pytest.raises(InvalidInput, match="A bucket is named as"):
            move_bytes(load_settings(), wrong, silent)
    left = home / "theirs"
    left.write_bytes(b"theirs")
    open_bucket(bucket).keep(left, "objects/ab/somebody")
    with pytest.raises(Conflict, match="empty"):
        move_bytes(load_settings(), bucket, silent)
    require(kept, place=None)


def test_a_backup_of_a_home_in_a_bucket_is_restored_on_a_disk_and_one_of_a_disk_in_a_bucket(
    home: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = fill()
    move_bytes(load_settings(), bucket, silent)
    back_up(load_settings(), tmp_path / "one.tar", silent)
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path / "new"))
    assert restore(load_settings(), tmp_path / "one.tar", silent).blobs == len(kept)
    require(kept, place=None)  # it says so itself, whatever the settings of the former home said
    back_up(load_settings(), tmp_path / "two.tar", silent)
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path / "third"))
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "modelyard.toml").write_text(f'blobs = "{bucket}-third"\n')
    restore(load_settings(), tmp_path / "two.tar", silent)
    require(kept, place=f"{bucket}-third")


def test_homes_of_one_database_look_for_its_bytes_in_one_place(
    postgres: PostgresServer, bucket: str, tmp_path: Path
) -> None:
    team = postgres.create()

    def platform(name: str, blobs: str | None = None) -> Platform:
        return Platform(Settings(home=str(tmp_path / name), database=team, blobs=blobs))

    first = platform("one")
    first.database.close()
    for other in (None, bucket):
        with pytest.raises(Conflict, match="mount that folder"):
            platform(f"other-{other is None}", other)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "blobs").symlink_to(tmp_path / "one" / "blobs")
    second = platform("two")
    digest = second.blobs.put([b"of both"]).sha256
    assert first.blobs.has(digest)
    second.presence.tell()  # type: ignore[union-attr]
    settings = Settings(home=str(tmp_path / "one"), database=team)
    with pytest.raises(Conflict, match="Other control planes"):
        move_bytes(settings, bucket, silent)
    second.homes._clock = lambda: 0.0
    second.presence.tell()  # type: ignore[union-attr] - long ago
    second.database.close()
    assert any("Other homes" in note for note in move_bytes(settings, bucket, silent).notes)
    with pytest.raises(Conflict, match="set it to"):
        platform("two")
    third = platform("two", bucket)
    with pytest.raises(NotFound):
        third.blobs.size(digest)  # nobody referred to it
    third.database.close()
    with pytest.raises(Conflict, match=f"let the setting blobs be {bucket}"):
        platform("three", f"{bucket}-elsewhere")
    postgres.drop(team)
