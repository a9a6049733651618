"""access: projects, API keys, and which bytes the versions of each project refer to.

Revision ID: 0008
Revises: 0007
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NAME = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    """Two tables, a project for everything there is, and what of bytes is whose."""
    op.create_table(
        "projects",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_projects"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("project", _NAME),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("endpoints_json", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("expires", sa.Float()),
        sa.Column("used", sa.Float()),
        sa.Column("revoked", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("name", name="uq_api_keys_name"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    for table in ("models", "endpoints", "remotes", "jobs", "uploads"):
        op.add_column(table, sa.Column("project", _NAME, nullable=False, server_default="default"))
    op.create_index("ix_models_project", "models", ["project"])
    op.add_column("uploads", sa.Column("proving", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("audit", sa.Column("project", _NAME))
    op.execute("UPDATE audit SET project = 'default'")
    op.create_index("ix_audit_project", "audit", ["project"])
    op.create_table(
        "upload_blobs",
        sa.Column("upload_id", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["uploads.id"], name="fk_upload_blobs_upload_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("upload_id", "sha256", name="pk_upload_blobs"),
    )
    referred = op.create_table(
        "version_blobs",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name="fk_version_blobs_version_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("version_id", "digest", name="pk_version_blobs"),
    )
    versions = op.get_bind().execute(sa.text("SELECT id, manifest_json FROM versions")).all()
    for version_id, manifest in versions:
        digests = {file["sha256"] for file in json.loads(manifest)["files"]}
        op.bulk_insert(
            referred,
            [{"version_id": version_id, "digest": bytes.fromhex(each)} for each in sorted(digests)],
        )
    op.create_index("ix_version_blobs_digest", "version_blobs", ["digest"])
