"""Cards: what people, catalogs and READMEs say of models."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select

from modelyard.core.card import Card, CardAnswer, check_card
from modelyard.core.errors import InvalidInput
from modelyard.core.licence import check_listed
from modelyard.core.metrics import MAX_TABLES, MetricsTable
from modelyard.store import figures, tables
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack
from modelyard.store.relist import relist, relist_model
from modelyard.store.version_rows import find, model_id, subject


class Cards:
    """The cards of one database's models. Every model has one; at first it is empty."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._audit = Audit(database, clock)

    def get(self, model: str, which: int | str | None = None) -> CardAnswer:
        """The card as it reads for one version (None: the latest). Raises NotFound."""
        with self._database.session() as session:
            version = find(session, model, which)
            row = session.execute(
                select(tables.cards).where(tables.cards.c.model_id == version.model_id)
            ).one_or_none()
            readme = session.execute(
                select(tables.readmes.c.text).where(tables.readmes.c.version_id == version.id)
            ).scalar()
            own = figures.kept(session, model, version.model_id, MAX_TABLES, version.number)
        card = Card() if row is None else unpack(row.card_json, Card)
        of_files = card.text is None and readme is not None
        return CardAnswer(
            model=model,
            version=version.number,
            card=msgspec.structs.replace(
                card,
                text=readme if of_files else card.text,
                metrics=_together(own, card.metrics, first=f"{model}/{version.number}"),
            ),
            readme=of_files,
            set_by=None if row is None else row.who,
            changed=None if row is None else row.changed,
        )

    def change(self, model: str, given: Mapping[str, Any], *, who: str, why: str = "") -> Card:
        """What is given in place of what the card says; the rest stays. The card as it is then. Tables of figures that
        name a version as their source are that version's, in place of its own; the others are the model's, in place of
        its own. An empty list takes all away, those of every version too.

        Raises NotFound, and InvalidInput naming the field for what no card says. A licence that is given without
        ``commercial`` brings its own.
        """
        with self._database.begin(subject(model)) as session:
            id = model_id(session, model)
            known = card_of(session, id)
            told: dict[str, Any] = msgspec.to_builtins(known)
            if "licence" in given and "commercial" not in given:
                told["commercial"] = None
            if isinstance(given.get("licence"), str):
                check_listed(given["licence"])
            try:
                card = msgspec.convert(told | dict(given), Card)
            except msgspec.ValidationError as error:
                raise InvalidInput(f"This is no card: {error}.", field="card") from error
            card = check_card(card)
            if "metrics" in given:
                self._measured(session, model, id, card.metrics)
                of_model = tuple(table for table in card.metrics if _version_of(model, table) is None)
                if card.metrics and not of_model:
                    of_model = known.metrics  # nothing was said of them
                card = msgspec.structs.replace(card, metrics=of_model)
            keep_card(session, id, card, self._clock(), who)
            changed = ", ".join(sorted(given)) or "nothing"
            self._audit.record(who, "card.change", model, f"{changed}{': ' + why if why else ''}", session)
            own = figures.kept(session, model, id, MAX_TABLES)
        return msgspec.structs.replace(card, metrics=_together(own, card.metrics))

    @staticmethod
    def _measured(session: Connection, model: str, model_id: int, told: figures.Tables) -> None:
        """Keep those of the tables that are of versions; of none: forget what was measured of any."""
        sources = {table.source: number for table in told if (number := _version_of(model, table))}
        versions = tables.versions.c
        known = select(versions.number, versions.id).where(versions.model_id == model_id)
        if sources:
            known = known.where(versions.number.in_(sources.values()))
        elif told:
            return
        else:
            known = known.join(tables.version_metrics, tables.version_metrics.c.version_id == versions.id)
        ids = {row.number: row.id for row in session.execute(known)}
        for index, table in enumerate(told):
            if table.source in sources and sources[table.source] not in ids:
                raise InvalidInput(
                    f"The model {model!r} has no version {sources[table.source]}.",
                    field=f"metrics[{index}].source",
                )
        for number, id in ids.items():
            own = [table for table in told if sources.get(table.source) == number]
            if figures.keep(session, id, own):
                relist(session, id)


def card_of(session: Connection, model_id: int) -> Card:
    """What a model's card says; an empty one when nothing was said."""
    query = select(tables.cards.c.card_json).where(tables.cards.c.model_id == model_id)
    packed = session.execute(query).scalar()
    return Card() if packed is None else unpack(packed, Card)


def fill_card(session: Connection, model_id: int, card: Card, now: float, who: str) -> bool:
    """Have the card say what it does not say yet; whether that changed something. Figures that name no source are of the
    version that the card came with (:func:`measured`), not of the model."""
    known = card_of(session, model_id)
    said = msgspec.structs.replace(card, metrics=tuple(table for table in card.metrics if table.source))
    filled = check_card(known.filled(said))
    if filled == known:
        return False
    keep_card(session, model_id, filled, now, who)
    return True


def measured(
    session: Connection, version_id: int, card: Card | None, readme: Sequence[MetricsTable] = ()
) -> bool:
    """Keep the figures of a version that its ``card`` came with, in place of its own of the same title, before all others;
    those of its ``readme`` behind them. Whether that changed something. Its listing is not made anew by this."""
    own = [] if card is None else [table for table in card.metrics if not table.source]
    if not own and not readme:
        return False
    titles = {table.title for table in own}
    held = [table for table in figures.of(session, version_id) if table.title not in titles]
    return figures.keep(session, version_id, [*own, *held, *readme][:MAX_TABLES])


def _version_of(model: str, table: MetricsTable) -> int | None:
    """The version of the model that the table is of."""
    match = re.fullmatch(rf"{re.escape(model)}/([1-9][0-9]{{0,8}})", table.source)
    return None if match is None else int(match[1])


def _together(own: figures.Tables, of_model: figures.Tables, *, first: str = "") -> figures.Tables:
    """As they are read: those of the version that is asked for, of the model, of the other versions."""
    here = tuple(table for table in own if table.source == first)
    others = tuple(table for table in own if table.source != first)
    return (*here, *of_model, *others)[:MAX_TABLES]


def keep_card(session: Connection, model_id: int, card: Card, now: float, who: str) -> None:
    """Write a card that was checked, in place of the former one; search finds the model by it."""
    known = card_of(session, model_id)
    session.execute(delete(tables.cards).where(tables.cards.c.model_id == model_id))
    session.execute(
        insert(tables.cards).values(model_id=model_id, card_json=pack(card), changed=now, who=who)
    )
    session.execute(delete(tables.card_tags).where(tables.card_tags.c.model_id == model_id))
    if card.tags:
        session.execute(insert(tables.card_tags), [{"model_id": model_id, "tag": tag} for tag in card.tags])
    if card != known:
        relist_model(session, model_id)
