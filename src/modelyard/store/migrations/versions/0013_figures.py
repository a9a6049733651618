"""figures: what was measured of each version, and the numbers that search compares.

Revision ID: 0013
Revises: 0012
"""

import json
import re
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from modelyard.store.figures import Tables, known, rows_of

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_AT_ONCE = 500
_FIGURES = sa.table(
    "figures",
    sa.column("version_id", sa.Integer()),
    sa.column("name", sa.String()),
    sa.column("data", sa.String()),
    sa.column("value", sa.Float()),
    sa.column("highest", sa.Boolean()),
    sa.column("lowest", sa.Boolean()),
)


def upgrade() -> None:
    """The tables of figures that cards have of versions become these versions' own: a card had fifty at most."""
    of_version = ("version_id",), ("versions.id",)
    op.create_table(
        "version_metrics",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("tables_json", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version_id", name="pk_version_metrics"),
        sa.ForeignKeyConstraint(*of_version, name="fk_version_metrics_version_id", ondelete="CASCADE"),
    )
    op.create_table(
        "figures",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("data", sa.String(100), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("highest", sa.Boolean(), nullable=False),
        sa.Column("lowest", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("version_id", "name", "data", name="pk_figures"),
        sa.ForeignKeyConstraint(*of_version, name="fk_figures_version_id", ondelete="CASCADE"),
    )
    op.create_index("ix_figures_name_value", "figures", ["name", "value", "version_id"])
    op.create_index("ix_figures_name_data_value", "figures", ["name", "data", "value", "version_id"])
    bind = op.get_bind()
    models = bind.execute(
        sa.text("SELECT m.id, m.name, c.card_json FROM models m LEFT JOIN cards c ON c.model_id = m.id")
    )
    for model in models.all():
        card: dict[str, Any] = {} if model.card_json is None else json.loads(model.card_json)
        _split(bind, model.id, model.name, card)


def _split(bind: sa.Connection, model_id: int, model: str, card: dict[str, Any]) -> None:
    metrics: list[dict[str, Any]] = card.get("metrics") or []
    versions = bind.execute(
        sa.text(
            "SELECT v.id, v.number, l.tradeoff_json FROM versions v LEFT JOIN lineage l ON l.version_id = v.id "
            "WHERE v.model_id = :id"
        ),
        {"id": model_id},
    ).all()
    numbers = {row.number for row in versions}
    own: dict[int, list[dict[str, Any]]] = {}
    others: list[dict[str, Any]] = []
    for table in metrics:
        of = re.fullmatch(rf"{re.escape(model)}/([1-9][0-9]{{0,8}})", table.get("source", ""))
        if of is not None and int(of[1]) in numbers:
            own.setdefault(int(of[1]), []).append({**table, "source": ""})
        else:
            others.append(table)
    if own:
        bind.execute(
            sa.text("UPDATE cards SET card_json = :card WHERE model_id = :id"),
            {"card": json.dumps({**card, "metrics": others}), "id": model_id},
        )
    rows: list[dict[str, Any]] = []
    of_model = _tables(others)
    for version in versions:
        tables = own.get(version.number)
        if tables:
            bind.execute(
                sa.text("INSERT INTO version_metrics (version_id, tables_json) VALUES (:id, :tables)"),
                {"id": version.id, "tables": json.dumps(tables)},
            )
        tradeoff = None if version.tradeoff_json is None else json.loads(version.tradeoff_json)
        rows += rows_of(version.id, known(_tables(tables or []), tradeoff, of_model))
    for start in range(0, len(rows), _AT_ONCE):
        bind.execute(sa.insert(_FIGURES), rows[start : start + _AT_ONCE])


def _tables(told: list[dict[str, Any]]) -> Tables:
    return msgspec.convert(told, Tables)
