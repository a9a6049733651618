"""The database: migrated once by whoever comes first, written by several processes at once."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from modelyard.core.card import Card
from modelyard.core.errors import Conflict, Unavailable
from modelyard.core.listing import Wanted
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.metrics import MetricsTable
from modelyard.core.model import Analysis
from modelyard.store import new_file, tables, words
from modelyard.store.cards import Cards
from modelyard.store.database import REVISION, Database, script_of_migrations
from modelyard.store.jobs import Jobs
from modelyard.store.lineage import Lineage
from modelyard.store.listings import Listings
from modelyard.store.nouns import pack
from modelyard.store.versions import Versions
from support.postgres import PostgresServer

PLACE = "sys.argv[1] if '://' in sys.argv[1] else __import__('pathlib').Path(sys.argv[1])"


def test_the_migrated_database_has_the_tables_of_the_code(database: Database) -> None:
    # The tables of free text are the database's own; test_words.py looks at what they find.
    options = {"compare_type": True, "include_name": lambda name, *_: name not in words.OWN}
    with database.session() as session:
        context = MigrationContext.configure(session, opts=options)
        assert compare_metadata(context, tables.metadata) == []


def test_the_constant_names_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "modelyard.store:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_a_new_file_has_what_all_migrations_come_to() -> None:
    script = Path(new_file.__file__).with_suffix(".sql")
    assert script.read_text() == script_of_migrations(), "run: make schema"


def test_a_file_that_is_made_at_once_is_the_file_that_migrations_make(tmp_path: Path) -> None:
    database = Database(tmp_path / "modelyard.db")
    database.migrate()
    database.close()
    assert new_file.script(tmp_path / "modelyard.db") == script_of_migrations()


def test_alembic_is_not_imported_for_a_new_file(tmp_path: Path) -> None:
    code = (
        "import sys; from modelyard.store.database import Database; from pathlib import Path;"
        "Database(Path(sys.argv[1])).migrate(); sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "modelyard.db")], check=True)


def test_a_file_is_written_ahead_with_foreign_keys_and_full_syncs(tmp_path: Path) -> None:
    database = Database(tmp_path / "modelyard.db")
    database.migrate()
    with database.session() as session:
        pragmas = {
            name: session.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2}
    database.close()


def test_migrating_again_changes_nothing(database: Database) -> None:
    job = Jobs(database).create("deploy", "kept", (), {})
    database.migrate()
    assert Jobs(database).get(job.id) == job


def test_alembic_is_not_imported_when_there_is_nothing_to_migrate(
    database: Database, place: Path | str
) -> None:
    code = (
        "import sys; from modelyard.store.database import Database;"
        f"Database({PLACE}).migrate(); sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(place)], check=True)


def test_a_database_of_a_newer_modelyard_is_refused(database: Database) -> None:
    with database.begin() as session:
        session.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Conflict, match="newer Modelyard"):
        database.migrate()


def test_a_migration_that_breaks_leaves_the_former_revision(tmp_path: Path) -> None:
    path = tmp_path / "modelyard.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE audit (mine INTEGER)")  # the last but one table that the migration makes
    other.close()
    database = Database(path)
    with pytest.raises(Exception, match="already exists"):
        database.migrate()
    with database.session() as session:
        names = (
            session.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
        )
    assert names == ["audit"]
    database.close()


def test_rubbish_in_its_place_is_told(tmp_path: Path) -> None:
    path = tmp_path / "modelyard.db"
    path.write_bytes(b"this is no database" * 1000)
    database = Database(path)
    with pytest.raises(Unavailable, match="damaged"):
        database.migrate()
    database.close()


def test_what_a_transaction_raises_takes_its_writes_back(database: Database) -> None:
    def fail() -> None:
        with database.begin() as session:
            session.execute(insert(tables.models).values(name="half", created=0.0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.session() as session:
        assert session.execute(select(tables.models)).all() == []


def test_traffic_cannot_point_at_a_deployment_that_is_not_there(database: Database) -> None:
    with pytest.raises(IntegrityError), database.begin() as session:
        session.execute(insert(tables.endpoints).values(id=1, name="e", created=0.0))
        session.execute(insert(tables.traffic).values(endpoint_id=1, wanted="nowhere"))


MIGRATE_AND_WRITE = """
import sys
from modelyard.store.database import Database
from modelyard.core.listing import Wanted
from modelyard.store.jobs import Jobs
from modelyard.store.lineage import Lineage
from modelyard.store.listings import Listings
from modelyard.store.nouns import pack
from modelyard.store.versions import Versions
database = Database(PLACE)
sys.stdin.readline()
database.migrate()
jobs = Jobs(database)
for number in range(10):
    job = jobs.create("deploy", sys.argv[2], ("one",), {"number": number})
    jobs.event(job.id, "progress", "one", "hello")
"""


@pytest.fixture
def empty(place: Path | str, request: pytest.FixtureRequest) -> Iterator[Path | str]:
    """Where there are no tables yet."""
    if isinstance(place, Path):
        yield place
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)


def test_four_processes_migrate_and_write_at_once(empty: Path | str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE_AND_WRITE.replace("PLACE", PLACE), str(empty), str(number)],
            stdin=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    database = Database(empty)
    jobs = Jobs(database)
    written = sorted((job.subject, job.parameters["number"]) for job in jobs.list(1000))
    assert written == sorted((str(process), number) for process in range(4) for number in range(10))
    database.close()


def test_what_was_there_before_the_registry_is_listed(tmp_path: Path) -> None:
    """From revision 0002, with versions of it, to the newest."""
    database = Database(tmp_path / "modelyard.db")
    config = Config()
    config.set_main_option("script_location", "modelyard.store:migrations")
    config.set_main_option("path_separator", "os")
    analysis = '{"format":"GGUF","adapter":"gguf","parameters":7,"details":{"architecture":"llama","precision":"F16"}}'
    manifest = '{"files":[{"path":"m.gguf","size":5,"sha256":"' + "a" * 64 + '"}]}'
    with database.begin() as session:
        config.attributes["connection"] = session
        command.upgrade(config, "0002")
        session.exec_driver_sql("INSERT INTO models (id, name, created) VALUES (4, 'chat', 1.0)")
        for number in (1, 2):
            session.exec_driver_sql(
                "INSERT INTO versions (id, model_id, number, digest, manifest_json, analysis_json, trusted, created) "
                "VALUES (?, 4, ?, ?, ?, ?, 0, 1.0)",
                (number + 10, number, str(number) * 64, manifest, analysis),
            )
    database.migrate()
    found = Listings(database).search(Wanted(text="llama", precision="float16", all_versions=True))
    assert [(each.number, each.latest, each.size) for each in found.versions] == [
        (2, True, 5),
        (1, False, 5),
    ]
    with database.session() as session:
        before = session.execute(select(tables.listings).order_by(tables.listings.c.version_id)).all()
    assert Listings(database).rebuild() == 2
    with database.session() as session:
        assert (
            session.execute(select(tables.listings).order_by(tables.listings.c.version_id)).all() == before
        )
        assert session.execute(select(tables.models.c.last)).scalar() == 2
    database.close()


def test_figures_of_cards_become_those_of_their_versions(tmp_path: Path) -> None:
    """From revision 0012, where a card had the tables of its versions, to the newest."""
    database = Database(tmp_path / "modelyard.db")
    database.migrate()
    versions, cards = Versions(database), Cards(database)
    for number in (1, 2):
        manifest = Manifest(files=(FileEntry(path="m", size=number, sha256=str(number) * 64),))
        versions.add("m", manifest, Analysis(format="onnx", adapter="onnx"), False)
    Lineage(database).set(("m", 2), ("m", 1), "variant", tradeoff={"ms": [9, 3]}, who="ada")
    told = [
        MetricsTable(title="GLUE", columns=("data", "accuracy"), rows=(("mnli", 0.8),), source="paper"),
        MetricsTable(title="M", columns=("metric", "value"), rows=(("auc", 0.9),), source="m/2"),
        MetricsTable(title="M", columns=("metric", "value"), rows=(("AUC", 0.7), ("MS", 1)), source="m/9"),
    ]
    with database.begin() as session:
        for name in ("figures", "version_metrics"):
            session.exec_driver_sql(f"DROP TABLE {name}")
        session.execute(
            insert(tables.cards).values(
                model_id=1, card_json=pack(Card(metrics=tuple(told))), changed=1.0, who="a"
            )
        )
        session.exec_driver_sql("UPDATE alembic_version SET version_num = '0012'")
    database.migrate()
    card = cards.get("m", 2).card
    assert card.figures("m/2") == {"auc": 0.9}
    assert [table.source for table in card.metrics] == ["m/2", "paper", "m/9"]
    with database.session() as session:
        before = session.execute(select(tables.figures)).all()
    assert {(row.version_id, row.name, row.data, row.value) for row in before} >= {
        (2, "auc", "", 0.9), (2, "ms", "", 3.0), (1, "accuracy", "mnli", 0.8), (2, "accuracy", "mnli", 0.8),
    }  # fmt: skip
    Listings(database).rebuild()
    with database.session() as session:
        assert {*session.execute(select(tables.figures))} == {*before}
    database.close()
