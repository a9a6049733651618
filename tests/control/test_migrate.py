"""A home's rows into a database that is shared and back, and all of a home into a file and out of it."""

import io
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelyard.control.backup import back_up, restore
from modelyard.control.migrate import EMBEDDED, move, set_setting
from modelyard.control.platform import Platform
from modelyard.core.deployment import DeploymentSettings
from modelyard.core.errors import Conflict, InvalidInput, NotFound, RejectedContent, Unavailable
from modelyard.core.listing import Page, Wanted
from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.core.model import Analysis
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import Remote
from modelyard.core.settings import Settings, load_settings
from modelyard.host.lock import ProgramLock
from modelyard.registry.upload import begin
from modelyard.store import rows
from modelyard.store.database import Database, open_database
from modelyard.store.listings import Listings
from support.postgres import PASSWORD, PostgresServer


def silent(text: str) -> None:
    pass


def fill(settings: Settings) -> None:
    """Something of everything: versions with bytes, an upload on its way, endpoints, remotes, jobs, a NUL."""
    platform = Platform(settings)
    for number in range(3):
        digest = platform.blobs.put([f"weights {number}".encode()])
        manifest = manifest_of([FileEntry(path="model.onnx", size=9, sha256=digest.sha256)])
        platform.versions.add(
            "fraud", manifest, Analysis(format="onnx", adapter="onnx"), number == 1, who="ada"
        )
    platform.cards.change("fraud", {"licence": "MIT", "tags": ["bank"], "text": "Grüße"}, who="ada")
    platform.aliases.move("fraud", "production", 2, who="ada", why="first")
    platform.lineage.set(("fraud", 2), ("fraud", 1), "variant", tradeoff={"auc": [0.9, 0.8]}, who="ada")
    platform.retirement.deprecate("fraud", 1, who="ada", why="old")
    platform.retirement.delete("fraud", 3, grace=1000, who="ada")
    first = platform.endpoints.deploy("fraud", "fraud", 1, DeploymentSettings(), "e" * 32)
    platform.endpoints.serve("fraud", first.id)
    second = platform.endpoints.deploy("fraud", "fraud", 2, DeploymentSettings(), "e" * 32)
    platform.endpoints.set_state(second.id, "failed", "it said \0 and ended")
    platform.endpoints.revert("fraud")
    remote = Remote(url="http://127.0.0.1:1", model="m")
    platform.remotes.put(RemoteRoute(endpoint="far", remotes=(remote,)))
    for state in range(3):
        job = platform.jobs.create("deploy", "fraud", ("one",), {"text": "ÄÖ \0 €", "n": state})
        platform.jobs.event(job.id, "progress", "one", "Grüße")
    platform.jobs.cancel(job.id)
    kept = FileEntry(path="a", size=9, sha256=digest.sha256)
    begin(platform.uploads, platform.blobs, [kept, FileEntry(path="b", size=1, sha256="f" * 64)])
    platform.projects.create("blue", who="ada")
    manifest = manifest_of([FileEntry(path="model.onnx", size=9, sha256=digest.sha256)])
    platform.versions.add("their", manifest, Analysis(format="onnx", adapter="onnx"), False, project="blue")
    platform.keys.create("bob", project="blue", role="operator")
    platform.keys.create("boss", project=None, role="admin")
    platform.keys.revoke("boss", why="left")
    proving, _ = begin(platform.uploads, platform.blobs, [kept], project="blue", proving=True)
    platform.uploads.came(proving, digest.sha256)
    platform.database.close()


def content(settings: Settings, **change: object) -> dict[str, rows.Content]:
    """All rows, without whose they are."""

    def without(table: rows.Table, row: rows.Row) -> rows.Row:
        return row | {"home": None} if "home" in row else row

    database = open_database(settings)
    with database.session() as session:
        found = rows.contents(session, without)
    database.close()
    del found["homes"]
    return found


def searched(settings: Settings) -> list[Page]:
    """What search finds, by words, facts and marks."""
    database = open_database(settings)
    wishes = [{"all_versions": True}, {"text": "GRUß", "licence": "MIT"}, {"alias": "production"}]
    wishes += [{"tags": ("bank",)}, {"status": "deprecated"}, {"status": "deleted"}]
    found = [Listings(database).search(Wanted(**wish)) for wish in wishes]
    database.close()
    assert [len(page.versions) for page in found] == [3, 1, 1, 1, 1, 1]
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def team(postgres: PostgresServer) -> Iterator[str]:
    """A database without tables."""
    url = postgres.create()
    yield url
    postgres.drop(url)


def test_there_and_back_nothing_is_lost_and_ids_go_on(home: Path, team: str) -> None:
    home.mkdir()
    (home / "modelyard.toml").write_text('# ours\nlog_level = "debug"\n')
    fill(load_settings())
    before = content(load_settings())
    assert before["jobs"].rows == 3 and before["audit"].rows > 5
    assert before["aliases"].rows == before["lineage"].rows == before["cards"].rows == 1
    found = searched(load_settings())

    moved = move(load_settings(), team, silent)
    assert moved.rows == {name: found.rows for name, found in before.items()}
    assert PASSWORD not in moved.target and PASSWORD not in moved.source
    settings = load_settings()
    assert (settings.database, settings.log_level) == (team, "debug")
    assert (home / "modelyard.toml").stat().st_mode & 0o777 == 0o600
    assert not (home / "modelyard.db").exists() and Path(moved.kept).is_file()
    assert content(settings) == before
    assert searched(settings) == found

    platform = Platform(settings)
    assert [each.home for each in platform.endpoints.list()] == [platform.id]
    assert platform.endpoints.snapshot(here=True)[0] == platform.endpoints.list()
    assert [route.endpoint for route in platform.remotes.list(here=True)] == ["far"]
    platform.jobs.create("deploy", "after", (), {})  # takes a number after those that came
    assert [job.subject for job in platform.jobs.list(1)] == ["after"]
    assert [job.subject for job in platform.jobs.list(10)] == ["after", "fraud", "fraud", "fraud"]
    platform.database.close()
    before = content(settings)

    back = move(settings, EMBEDDED, silent)
    assert back.target == str(home / "modelyard.db")
    settings = load_settings()
    assert settings.database is None and settings.log_level == "debug"
    assert "# ours" in (home / "modelyard.toml").read_text()
    assert content(settings) == before


def test_a_target_with_rows_is_refused_and_stays_as_it_is(home: Path, team: str) -> None:
    fill(load_settings())
    database = Database(team)
    database.migrate()
    with database.begin() as session:
        session.exec_driver_sql("INSERT INTO models (name, created) VALUES ('theirs', 0)")
    with pytest.raises(Conflict, match="has rows already"):
        move(load_settings(), team, silent)
    with database.session() as session:
        assert session.exec_driver_sql("SELECT name FROM models").scalars().all() == ["theirs"]
    database.close()
    assert load_settings().database is None and (home / "modelyard.db").is_file()


def test_a_move_that_was_killed_before_it_was_said_goes_on(home: Path, team: str) -> None:
    fill(load_settings())
    before = content(load_settings())
    config = home / "modelyard.toml"

    def killed(text: str) -> None:
        if text == "writing modelyard.toml":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(load_settings(), team, killed)
    assert load_settings().database is None and not config.exists()
    assert move(load_settings(), team, silent).rows["jobs"] == 3
    assert content(load_settings()) == before


@pytest.mark.parametrize("at", ["moving audit", "comparing"])
def test_a_move_that_is_killed_leaves_nothing_in_the_target(home: Path, team: str, at: str) -> None:
    fill(load_settings())
    code = (
        "import os, sys; from modelyard.control.migrate import move; from modelyard.core.settings import load_settings\n"
        f"move(load_settings(), sys.argv[1], lambda text: os._exit(9) if text.startswith({at!r}) else None)"
    )
    assert subprocess.run([sys.executable, "-c", code, team], check=False).returncode == 9
    database = Database(team)
    with database.session() as session:
        assert rows.is_empty(session)
    database.close()
    assert move(load_settings(), team, silent).rows["models"] == 2


def test_it_does_not_move_under_a_running_control_plane_nor_where_it_is(home: Path, team: str) -> None:
    fill(load_settings())
    lock = ProgramLock(home / "run", "control")
    lock.acquire()
    with pytest.raises(Conflict, match="modelyard down"):
        move(load_settings(), team, silent)
    lock.release()
    with pytest.raises(InvalidInput, match="already"):
        move(load_settings(), EMBEDDED, silent)
    with pytest.raises(InvalidInput, match="postgresql://"):
        move(load_settings(), "mysql://somewhere/x", silent)
    with pytest.raises(Unavailable, match="does not"):
        move(load_settings(), "postgresql://nobody:wrong@127.0.0.1:1/x", silent)


def test_what_other_homes_serve_is_not_taken_along(home: Path, team: str, tmp_path: Path) -> None:
    fill(load_settings())
    move(load_settings(), team, silent)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "blobs").symlink_to(home / "blobs")
    other = Platform(load_settings(home=str(tmp_path / "other"), database=team))
    other.endpoints.deploy("theirs", "fraud", 1, DeploymentSettings(), None)
    with pytest.raises(Conflict, match="theirs"):
        move(load_settings(), EMBEDDED, silent)
    assert load_settings().database == team
    other.endpoints.delete("theirs")
    other.database.close()
    move(load_settings(), EMBEDDED, silent)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'database = "u"\n'),
        (
            '# a\nport = 1\ndatabase = "old"\n[x]\ndatabases = 2\n',
            'database = "u"\n# a\nport = 1\n[x]\ndatabases = 2\n',
        ),
    ],
)
def test_the_rest_of_the_settings_stays_as_it_is_written(tmp_path: Path, before: str, after: str) -> None:
    config = tmp_path / "modelyard.toml"
    config.write_text(before)
    set_setting(config, "database", "u")
    assert config.read_text() == after
    set_setting(config, "database", None)
    assert config.read_text() == after.removeprefix('database = "u"\n')


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Settings]:
    """Settings of a new home on either kind of database."""

    def fresh(name: str) -> Settings:
        database = None
        if request.param == "postgresql":
            server: PostgresServer = request.getfixturevalue("postgres")
            database = server.create()
            request.addfinalizer(lambda: server.drop(database))
        return Settings(home=str(tmp_path / name), database=database)

    return fresh


def test_a_backup_brings_everything_back(fresh: Callable[[str], Settings], tmp_path: Path) -> None:
    old, new = fresh("old"), fresh("new")
    fill(old)
    (tmp_path / "old" / "modelyard.toml").write_text('log_level = "debug"\n')
    file = tmp_path / "backup.tar"
    made = back_up(old, file, silent)
    assert (made.blobs, made.bytes) == (3, 27)
    assert file.stat().st_mode & 0o777 == 0o600
    restore(new, file, silent)
    assert searched(new) == searched(old)
    assert content(new) == content(old)
    for name in ("key", "id", "modelyard.toml"):
        assert (tmp_path / "new" / name).read_bytes() == (tmp_path / "old" / name).read_bytes()
    platform = Platform(new)
    for digest in platform.versions.referenced_digests():
        assert platform.blobs.verify(digest)
    assert [each.name for each in platform.endpoints.snapshot(here=True)[0]] == ["fraud"]
    platform.versions.add("new", manifest_of([FileEntry(path="a", size=1, sha256="0" * 64)]), Analysis(format="f", adapter="a"), False)  # fmt: skip
    platform.database.close()
    with pytest.raises(Conflict, match="has rows already"):
        restore(new, file, silent)
    with pytest.raises(Conflict, match="is there already"):
        back_up(old, file, silent)


def test_a_backup_of_the_one_kind_is_restored_on_the_other(tmp_path: Path, team: str) -> None:
    old = Settings(home=str(tmp_path / "old"))
    shared = Settings(home=str(tmp_path / "shared"), database=team)
    again = Settings(home=str(tmp_path / "again"))
    fill(old)
    back_up(old, tmp_path / "one.tar", silent)
    restore(shared, tmp_path / "one.tar", silent)
    platform = Platform(shared)
    assert [each.name for each in platform.endpoints.snapshot(here=True)[0]] == ["fraud"]
    platform.database.close()
    back_up(shared, tmp_path / "two.tar", silent)
    restore(again, tmp_path / "two.tar", silent)
    assert content(again) == content(shared) == content(old)
    assert searched(again) == searched(shared) == searched(old)


def test_a_backup_is_one_picture_while_others_write(
    fresh: Callable[[str], Settings], tmp_path: Path
) -> None:
    """Each writer adds a version and an audit row together: a picture has as many of the one as of the other."""
    old, new = fresh("old"), fresh("new")
    platform = Platform(old)
    stop, begun = threading.Event(), threading.Event()

    def write(who: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            digest = platform.blobs.put([f"{who} {number}".encode()])
            manifest = manifest_of([FileEntry(path="a", size=digest.size, sha256=digest.sha256)])
            platform.versions.add(f"m{who}", manifest, Analysis(format="f", adapter="a"), False)
            begun.set()

    threads = [threading.Thread(target=write, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    for number in range(3):
        made = back_up(old, tmp_path / f"{number}.tar", silent)
        versions, models = made.tables["versions"].rows, made.tables["models"].rows
        assert made.tables["audit"].rows == versions + models and made.blobs == versions
    stop.set()
    for thread in threads:
        thread.join()
    platform.database.close()
    assert versions > 0
    assert restore(new, tmp_path / "2.tar", silent).blobs == made.blobs


def test_a_damaged_backup_restores_nothing(fresh: Callable[[str], Settings], tmp_path: Path) -> None:
    old, new = fresh("old"), fresh("new")
    fill(old)
    file = tmp_path / "backup.tar"
    back_up(old, file, silent)
    whole = file.read_bytes()
    places = [whole.index(b"weights 1"), whole.index(b"it said"), len(whole) // 2]
    broken = [whole[:at] + b"X" + whole[at + 1 :] for at in places[:2]]
    broken += [whole[: places[2]], b"no archive", b"", whole[:512], rearranged(whole, "rows/jobs"), rearranged(whole, "blobs/")]  # fmt: skip
    for number, data in enumerate(broken):
        file.write_bytes(data)
        with pytest.raises(RejectedContent):
            restore(new, file, silent)
        database = open_database(new)
        with database.session() as session:
            assert rows.is_empty(session), number
        database.close()
    file.write_bytes(whole)
    restore(new, file, silent)
    with pytest.raises(NotFound):
        restore(new, tmp_path / "nowhere.tar", silent)


def rearranged(whole: bytes, without: str) -> bytes:
    """The same archive without its first member of a name."""
    out = io.BytesIO()
    skipped = False
    with tarfile.open(fileobj=io.BytesIO(whole)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            if member.name.startswith(without) and not skipped:
                skipped = True
                continue
            new.addfile(member, old.extractfile(member))
    assert skipped
    return out.getvalue()


def test_an_archive_that_would_write_elsewhere_is_refused(home: Path, tmp_path: Path) -> None:
    fill(load_settings())
    file = tmp_path / "backup.tar"
    back_up(load_settings(), file, silent)
    whole = file.read_bytes()
    for name in ("../escaped", "home/../../escaped", "/escaped", "rows/../x", "blobs/../../escaped"):
        out = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(whole)) as old, tarfile.open(fileobj=out, mode="w") as new:
            for member in old:
                new.addfile(member, old.extractfile(member))
            member = tarfile.TarInfo(name)
            member.size = 3
            new.addfile(member, io.BytesIO(b"bad"))
        file.write_bytes(out.getvalue())
        with pytest.raises(RejectedContent):
            restore(Settings(home=str(tmp_path / "new")), file, silent)
    assert not list(tmp_path.rglob("escaped"))


def test_a_blob_that_has_changed_is_told_and_no_backup_is_left(home: Path, tmp_path: Path) -> None:
    fill(load_settings())
    platform = Platform(load_settings())
    sha256 = platform.versions.get("fraud", 1).manifest.files[0].sha256
    platform.database.close()
    path = next((home / "blobs" / "objects").rglob(sha256))
    path.chmod(0o644)
    path.write_bytes(b"WEIGHTS 0")
    with pytest.raises(RejectedContent, match=sha256):
        back_up(load_settings(), tmp_path / "backup.tar", silent)
    assert [each.name for each in tmp_path.iterdir()] == ["home"]
    shutil.rmtree(home)
