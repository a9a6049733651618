"""What is said of versions (marks, aliases and their history, lineage, cards), and the rows that search reads.

Revision ID: 0003
Revises: 0002
"""

import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Ordered by their bytes, in whatever language the database was made.
_NAME = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")

_PRECISIONS = {
    "f64": "float64",
    "f32": "float32",
    "fp32": "float32",
    "f16": "float16",
    "fp16": "float16",
    "bf16": "bfloat16",
}


def upgrade() -> None:
    """Make the tables, and list the versions that are there."""
    op.add_column("models", sa.Column("last", sa.Integer(), nullable=False, server_default="0"))
    _of_versions()
    _of_models()
    listings = _listings()
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TABLE listings_words (version_id INTEGER PRIMARY KEY REFERENCES listings (version_id) "
            "ON DELETE CASCADE, words TSVECTOR NOT NULL)"
        )
        op.execute("CREATE INDEX ix_listings_words ON listings_words USING gin (words)")
    else:
        op.execute(
            "CREATE VIRTUAL TABLE listings_words USING fts5(words, tokenize='unicode61 remove_diacritics 0', prefix='2 3', "
            "detail=none, columnsize=0)"
        )
        # Rows of a virtual table have no foreign keys.
        op.execute(
            "CREATE TRIGGER listings_unlisted AFTER DELETE ON listings BEGIN "
            "DELETE FROM listings_words WHERE rowid = old.version_id; END"
        )
    _list_all(listings)


def _of_versions() -> None:
    op.create_table(
        "marks",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("mark", sa.String(16), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("until", sa.Float()),
        sa.PrimaryKeyConstraint("version_id", "mark", name="pk_marks"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name="fk_marks_version_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_marks_mark_until", "marks", ["mark", "until"])
    op.create_table(
        "aliases",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "name", name="pk_aliases"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_aliases_model_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_aliases_version_id"),
    )
    op.create_index("ix_aliases_version_id", "aliases", ["version_id"])
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("model", _NAME, nullable=False),
        sa.Column("alias", _NAME, nullable=False),
        sa.Column("version", sa.Integer()),
        sa.Column("former", sa.Integer()),
        sa.Column("digest", sa.String(64)),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alias_moves"),
    )
    op.create_index("ix_alias_moves_model_alias", "alias_moves", ["model", "alias"])
    op.create_table(
        "lineage",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=False),
        sa.Column("relation", sa.String(32), nullable=False),
        sa.Column("tradeoff_json", sa.Text()),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("version_id", name="pk_lineage"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name="fk_lineage_version_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["versions.id"], name="fk_lineage_parent_id"),
    )
    op.create_index("ix_lineage_parent_id", "lineage", ["parent_id"])
    op.create_table(
        "readmes",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version_id", name="pk_readmes"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name="fk_readmes_version_id", ondelete="CASCADE"
        ),
    )


def _of_models() -> None:
    op.create_table(
        "cards",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("card_json", sa.Text(), nullable=False),
        sa.Column("changed", sa.Float(), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("model_id", name="pk_cards"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_cards_model_id", ondelete="CASCADE"),
    )
    op.create_table(
        "card_tags",
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "tag", name="pk_card_tags"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_card_tags_model_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_card_tags_tag_model_id", "card_tags", ["tag", "model_id"])


def _listings() -> sa.Table:
    table = op.create_table(
        "listings",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("model", _NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("latest", sa.Boolean(), nullable=False),
        sa.Column("deprecated", sa.Boolean(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("quarantined", sa.Boolean(), nullable=False),
        sa.Column("format", sa.String(64), nullable=False),
        sa.Column("adapter", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("precision", sa.String(32)),
        sa.Column("architecture", sa.String(200)),
        sa.Column("task", sa.String(64)),
        sa.Column("category", sa.String(64)),
        sa.Column("licence", sa.String(200)),
        sa.Column("commercial", sa.Boolean()),
        sa.PrimaryKeyConstraint("version_id", name="pk_listings"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name="fk_listings_version_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_listings_model_id", "listings", ["model_id"])
    for name in ("model", "size", "parameters"):
        op.create_index(f"ix_listings_{name}_version_id", "listings", [name, "version_id"])
    for name in ("format", "precision", "architecture", "task", "category", "licence"):
        op.create_index(f"ix_listings_{name}", "listings", [name])
    return table


def _list_all(listings: sa.Table) -> None:
    bind = op.get_bind()
    bind.execute(
        sa.text(
            "UPDATE models SET last = COALESCE((SELECT MAX(number) FROM versions WHERE model_id = models.id), 0)"
        )
    )
    rows = bind.execute(
        sa.text(
            "SELECT v.id, v.model_id, m.name, m.last, v.number, v.manifest_json, v.analysis_json "
            "FROM versions v JOIN models m ON m.id = v.model_id ORDER BY v.id"
        )
    )
    for row in rows.all():
        analysis: dict[str, Any] = json.loads(row.analysis_json)
        told: dict[str, str] = analysis.get("details") or {}
        architecture = told.get("architecture", "").split(",")[0].strip()[:200] or told.get("estimator")
        first = re.split(r"[\s,]", told.get("precision", "").strip().lower(), maxsplit=1)[0]
        precision = None if first in ("", "no", "type", "unknown") else _PRECISIONS.get(first, first)[:32]
        parameters = analysis.get("parameters")
        listed: dict[str, Any] = {
            "version_id": row.id,
            "model_id": row.model_id,
            "model": row.name,
            "number": row.number,
            "latest": row.number == row.last,
            "deprecated": False,
            "deleted": False,
            "quarantined": False,
            "format": analysis["format"],
            "adapter": analysis["adapter"],
            "size": sum(file["size"] for file in json.loads(row.manifest_json)["files"]),
            "parameters": -1 if parameters is None else parameters,
            "precision": precision,
            "architecture": architecture,
        }
        bind.execute(sa.insert(listings).values(listed))
        names = " ".join(
            str(listed[name] or "") for name in ("model", "format", "adapter", "architecture", "precision")
        )
        words = " ".join(dict.fromkeys(re.findall(r"[^\W_]+", names.lower())))
        if bind.dialect.name == "postgresql":
            put = (
                "INSERT INTO listings_words (version_id, words) VALUES (:id, to_tsvector('simple', :words))"
            )
        else:
            put = "INSERT INTO listings_words (rowid, words) VALUES (:id, :words)"
        bind.execute(sa.text(put), {"id": row.id, "words": words})
