"""team: which home serves an endpoint and does a job, where several share the database.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NAMES = (("models", "name"), ("endpoints", "name"), ("remotes", "endpoint"))


def upgrade() -> None:
    """A table of homes, and whose each row is."""
    op.create_table(
        "homes",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("node_url", sa.Text()),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_homes"),
    )
    for table in ("endpoints", "remotes", "jobs"):
        op.add_column(table, sa.Column("home", sa.String(32)))
    if op.get_bind().dialect.name == "postgresql":
        # As SQLite does it: names are ordered by their bytes, in whatever language the database was made.
        for table, column in _NAMES:
            op.alter_column(table, column, type_=sa.String(63, collation="C"))
