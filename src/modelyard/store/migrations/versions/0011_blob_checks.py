"""blob_checks: when each blob was last read and compared, and what was wrong with it then.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty: what has no row was compared when it came."""
    op.create_table(
        "blob_checks",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("checked", sa.Float(), nullable=False),
        sa.Column("trouble_json", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name="pk_blob_checks"),
    )
