"""verdicts: what scanners say of files; versions: who trusted them and why, and why they are in quarantine.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row for the bytes of a file and a scanner; it is replaced when that has a new version."""
    op.create_table(
        "verdicts",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("scanner", sa.String(32), nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("findings_json", sa.Text(), nullable=False),
        sa.Column("more", sa.Integer(), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "scanner", name="pk_verdicts"),
    )
    op.add_column("versions", sa.Column("trusted_by", sa.String(255), nullable=True))
    op.add_column("versions", sa.Column("trusted_because", sa.Text(), nullable=True))
    op.add_column("versions", sa.Column("quarantine", sa.Text(), nullable=True))
