"""lockfiles: the exact packages of the environments that deployments have.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty: those of environments that are there are kept at the next start."""
    op.create_table(
        "lockfiles",
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("kept", sa.Float(), nullable=False),
        sa.Column("lockfile_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("environment", name="pk_lockfiles"),
    )
