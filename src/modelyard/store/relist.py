"""The rows that search reads, made from all that is known of a version.

Everything that changes a version, its card or its marks calls :func:`relist` or :func:`relist_model` in the same
transaction, so that what is found is what is there.
"""

from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from modelyard.core.card import Card, check_card
from modelyard.core.errors import InvalidInput
from modelyard.core.listing import Facts, facts_of
from modelyard.core.manifest import Manifest
from modelyard.core.model import Analysis
from modelyard.store import figures, tables, words
from modelyard.store.nouns import unpack, unpack_object
from modelyard.store.version_rows import DELETED, DEPRECATED, is_deleted

_l: Final = tables.listings


def rebuild(session: Connection) -> int:
    """Make all listings anew, within a transaction about everything; how many there are."""
    session.execute(delete(_l))
    for model_id in session.execute(select(tables.models.c.id)).scalars().all():
        relist_model(session, model_id)
    return session.execute(select(func.count()).select_from(_l)).scalar_one()


def relist(session: Connection, version_id: int) -> None:
    """Make the listing of one version anew, and say which of its model is the latest now."""
    mark_latest(session, _list(session, version_id))


def relist_model(session: Connection, model_id: int) -> None:
    """Make the listings of all versions of a model anew."""
    of_model = select(tables.versions.c.id).where(tables.versions.c.model_id == model_id)
    for version_id in session.execute(of_model.order_by(tables.versions.c.id)).scalars().all():
        _list(session, version_id)
    mark_latest(session, model_id)


def _list(session: Connection, version_id: int) -> int:
    """Make the listing of one version anew, as if it were not the latest; the id of its model."""
    query = (
        select(
            tables.versions,
            tables.models.c.name.label("model"),
            tables.cards.c.card_json,
            tables.readmes.c.text.label("readme"),
            tables.version_metrics.c.tables_json,
            tables.lineage.c.tradeoff_json,
        )
        .join(tables.models, tables.models.c.id == tables.versions.c.model_id)
        .outerjoin(tables.cards, tables.cards.c.model_id == tables.versions.c.model_id)
        .outerjoin(tables.readmes, tables.readmes.c.version_id == tables.versions.c.id)
        .outerjoin(tables.version_metrics, tables.version_metrics.c.version_id == tables.versions.c.id)
        .outerjoin(tables.lineage, tables.lineage.c.version_id == tables.versions.c.id)
    )
    row = session.execute(query.where(tables.versions.c.id == version_id)).one()
    marks = set(
        session.execute(
            select(tables.marks.c.mark).where(tables.marks.c.version_id == version_id)
        ).scalars()
    )
    card = Card() if row.card_json is None else unpack(row.card_json, Card)
    analysis = unpack(row.analysis_json, Analysis)
    facts = facts_of(analysis)
    said = card.filled(_licensed(facts))
    listed = {
        "version_id": version_id,
        "model_id": row.model_id,
        "model": row.model,
        "number": row.number,
        "latest": False,
        "deprecated": DEPRECATED in marks,
        "deleted": DELETED in marks,
        "quarantined": row.quarantine is not None,
        "format": facts.format,
        "adapter": facts.adapter,
        "size": unpack(row.manifest_json, Manifest).size,
        "parameters": -1 if facts.parameters is None else facts.parameters,
        "precision": facts.precision,
        "architecture": card.architecture or facts.architecture,
        "task": card.task,
        "category": card.category,
        "licence": said.licence,
        "commercial": said.commercial,
    }
    session.execute(delete(_l).where(_l.c.version_id == version_id))
    session.execute(insert(_l).values(listed))
    own = () if row.tables_json is None else unpack(row.tables_json, figures.Tables)
    figures.put(session, version_id, figures.known(own, unpack_object(row.tradeoff_json), card.metrics))
    told = (
        row.model, card.title, card.summary, card.task, card.category, said.licence, listed["architecture"],
        facts.format, facts.adapter, facts.precision, *facts.imports, *card.tags, row.readme if card.text is None else card.text,
    )  # fmt: skip
    words.put(session, version_id, " ".join(str(each) for each in told if each))
    return row.model_id


def mark_latest(session: Connection, model_id: int) -> None:
    """Say which listing of a model is the latest: that of the highest number that is not deleted."""
    highest = select(func.max(tables.versions.c.number)).where(
        tables.versions.c.model_id == model_id, ~is_deleted()
    )
    number = session.execute(highest).scalar()
    session.execute(
        update(_l)
        .where(_l.c.model_id == model_id, _l.c.latest, _l.c.number != (number or 0))
        .values(latest=False)
    )
    session.execute(update(_l).where(_l.c.model_id == model_id, _l.c.number == number).values(latest=True))


def _licensed(facts: Facts) -> Card:
    """A card that says the licence of the files, where it is one that a card can say."""
    try:
        return Card() if facts.licence is None else check_card(Card(licence=facts.licence))
    except InvalidInput:
        return Card()
