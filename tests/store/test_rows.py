"""Rows that come with their ids, as they do when a home is moved or brought back."""

from bench.models.registry import fill
from sqlalchemy import text

from modelyard.store.database import Database
from support.registry import Clock, Registry


def test_after_many_came_new_ones_have_ids_of_their_own(database: Database) -> None:
    fill(database, 300)
    made = Registry(database, Clock()).add("another")
    with database.session() as session:
        assert session.execute(text("SELECT max(id) FROM versions")).scalar() == 301
    assert made.model == "another"


def test_after_many_came_the_database_knows_at_once_how_many_there_are(database: Database) -> None:
    """PostgreSQL would look a minute later. SQLite is told by a sample in each search."""
    fill(database, 300)
    if database.is_shared:
        with database.session() as session:
            told = "SELECT relname, reltuples FROM pg_class WHERE relname IN ('listings', 'listings_words')"
            assert {tuple(row) for row in session.execute(text(told))} == {
                ("listings", 300.0),
                ("listings_words", 300.0),
            }
