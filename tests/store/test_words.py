"""The words of listings on PostgreSQL: kept so that looking at many of them is cheap."""

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.config import Config

from modelyard.core.listing import Wanted
from modelyard.store.database import Database
from modelyard.store.listings import Listings
from support.postgres import PostgresServer
from support.registry import Clock, Registry


@pytest.fixture
def older(postgres: PostgresServer) -> Iterator[Database]:
    """A database as the revision before wrote it, with one version."""
    url = postgres.create()
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", "modelyard.store:migrations")
    config.set_main_option("path_separator", "os")
    with database.begin() as session:
        config.attributes["connection"] = session
        command.upgrade(config, "0008")
        session.exec_driver_sql("INSERT INTO models (id, name, created, last) VALUES (4, 'chat', 1.0, 1)")
        session.exec_driver_sql(
            "INSERT INTO versions (id, model_id, number, digest, manifest_json, analysis_json, trusted, created) "
            'VALUES (9, 4, 1, repeat(\'a\', 64), \'{"files":[]}\', \'{"format":"GGUF","adapter":"gguf"}\', false, 1.0)'
        )
        session.exec_driver_sql(
            "INSERT INTO listings (version_id, model_id, model, number, latest, deprecated, deleted, quarantined, format, "
            "adapter, size, parameters) VALUES (9, 4, 'chat', 1, true, false, false, false, 'GGUF', 'gguf', 5, -1)"
        )
        session.exec_driver_sql(
            "INSERT INTO listings_words (version_id, words) VALUES (9, to_tsvector('simple', 'chat gguf llama'))"
        )
    yield database
    database.close()
    postgres.drop(url)


def test_words_from_before_are_kept_like_new_ones_and_found(older: Database) -> None:
    older.migrate()
    registry = Registry(older, Clock())
    registry.add("other", readme="a llama too")
    with older.session() as session:
        told = "SELECT version_id, words::text FROM listings_words ORDER BY version_id"
        words = {row.version_id: row.words for row in session.exec_driver_sql(told)}
        storage = "SELECT attstorage FROM pg_attribute WHERE attrelid = 'listings_words'::regclass AND attname = 'words'"
        assert session.exec_driver_sql(storage).scalar() == "m"
    assert words[9] == "'chat' 'gguf' 'llama'"
    assert len(words) == 2 and not any(":" in each for each in words.values())
    found = Listings(older).search(Wanted(text="llam", sort="name")).versions
    assert [each.model for each in found] == ["chat", "other"]
