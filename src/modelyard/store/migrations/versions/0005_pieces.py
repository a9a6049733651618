"""packs, pieces, blobs: what lies below the files of versions.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty: what lies in a store already has no rows until it is looked at for pieces."""
    op.create_table(
        "packs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_packs"),
        sa.UniqueConstraint("key", name="uq_packs_key"),
    )
    op.create_table(
        "pieces",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("pack_id", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("codec", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pieces"),
        sa.UniqueConstraint("digest", name="uq_pieces_digest"),
        sa.ForeignKeyConstraint(["pack_id"], ["packs.id"], name="fk_pieces_pack_id"),
    )
    op.create_index("ix_pieces_pack_id", "pieces", ["pack_id"])
    op.create_table(
        "blobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("pack_id", sa.Integer(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("used", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blobs"),
        sa.UniqueConstraint("digest", name="uq_blobs_digest"),
        sa.ForeignKeyConstraint(["pack_id"], ["packs.id"], name="fk_blobs_pack_id"),
    )
    op.create_index("ix_blobs_pack_id", "blobs", ["pack_id"])
    op.create_table(
        "blob_pieces",
        sa.Column("blob_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("piece_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("blob_id", "sequence", name="pk_blob_pieces"),
        sa.ForeignKeyConstraint(
            ["blob_id"], ["blobs.id"], name="fk_blob_pieces_blob_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["piece_id"], ["pieces.id"], name="fk_blob_pieces_piece_id"),
    )
    op.create_index("ix_blob_pieces_piece_id", "blob_pieces", ["piece_id"])
