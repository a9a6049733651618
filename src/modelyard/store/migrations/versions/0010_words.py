"""words: on PostgreSQL without positions, and in their own row.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Words of 2 to 8 kB lay in a table of large values, compressed; to look at each cost three pages and more."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("ALTER TABLE listings_words ALTER COLUMN words SET STORAGE MAIN")
    op.execute("ALTER TABLE listings_words SET (toast_tuple_target = 8160)")
    op.execute("DROP INDEX ix_listings_words")
    op.execute("UPDATE listings_words SET words = strip(words)")
    op.execute("CREATE INDEX ix_listings_words ON listings_words USING gin (words)")
