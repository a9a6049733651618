"""remotes: where calls to an endpoint go beside its deployment, or instead of one.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row a name."""
    op.create_table(
        "remotes",
        sa.Column("endpoint", sa.String(63), nullable=False),
        sa.Column("route_json", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", name="pk_remotes"),
    )
