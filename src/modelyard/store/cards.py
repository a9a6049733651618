"""Cards: what people, catalogs and READMEs say of models."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select

from modelyard.core.card import MAX_TABLES, Card, CardAnswer, MetricsTable, check_card
from modelyard.core.errors import InvalidInput
from modelyard.core.licence import check_listed
from modelyard.store import tables
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack
from modelyard.store.relist import relist_model
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
        card = Card() if row is None else unpack(row.card_json, Card)
        of_files = card.text is None and readme is not None
        return CardAnswer(
            model=model,
            version=version.number,
            card=msgspec.structs.replace(
                card,
                text=readme if of_files else card.text,
                # The version's own figures stand first.
                metrics=tuple(
                    sorted(card.metrics, key=lambda table: table.source != f"{model}/{version.number}")
                ),
            ),
            readme=of_files,
            set_by=None if row is None else row.who,
            changed=None if row is None else row.changed,
        )

    def change(self, model: str, given: Mapping[str, Any], *, who: str, why: str = "") -> Card:
        """What is given in place of what the card says; the rest stays. The card as it is then. Tables of figures that
        are given replace all but those of versions that none of them is of; an empty list replaces these too.

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
            if given.get("metrics"):
                sources = {table.source for table in card.metrics}
                kept = _of_versions(model, known.metrics, but=sources)[
                    : max(0, MAX_TABLES - len(card.metrics))
                ]
                card = msgspec.structs.replace(card, metrics=(*card.metrics, *kept))
            card = check_card(card)
            keep_card(session, id, card, self._clock(), who)
            changed = ", ".join(sorted(given)) or "nothing"
            self._audit.record(who, "card.change", model, f"{changed}{': ' + why if why else ''}", session)
        return card


def card_of(session: Connection, model_id: int) -> Card:
    """What a model's card says; an empty one when nothing was said."""
    query = select(tables.cards.c.card_json).where(tables.cards.c.model_id == model_id)
    packed = session.execute(query).scalar()
    return Card() if packed is None else unpack(packed, Card)


def fill_card(session: Connection, model_id: int, card: Card, now: float, who: str, version: str) -> bool:
    """Have the card say what it does not say yet; whether that changed something. Figures that name no source are of
    the ``version`` (``fraud/3``) that the card came with: they stand beside those of others, in place of its own."""
    known = card_of(session, model_id)
    filled = known.filled(msgspec.structs.replace(card, metrics=_elsewhere(card)))
    own = tuple(
        msgspec.structs.replace(table, source=version) for table in card.metrics if not table.source
    )
    if own:
        others = tuple(table for table in filled.metrics if table.source != version)
        filled = msgspec.structs.replace(filled, metrics=(*own, *others)[:MAX_TABLES])
    filled = check_card(filled)
    if filled == known:
        return False
    keep_card(session, model_id, filled, now, who)
    return True


def _of_versions(
    model: str, figures: tuple[MetricsTable, ...], *, but: set[str]
) -> tuple[MetricsTable, ...]:
    """Those of ``figures`` that are of versions of the model, but for the sources named."""
    version = re.compile(rf"{re.escape(model)}/[1-9][0-9]*")
    return tuple(table for table in figures if version.fullmatch(table.source) and table.source not in but)


def _elsewhere(card: Card) -> tuple[MetricsTable, ...]:
    return tuple(table for table in card.metrics if table.source)


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
    if _searched(card) != _searched(known):
        relist_model(session, model_id)


def _searched(card: Card) -> Card:
    """A card without what no listing has: each push may bring figures, and a model may have very many versions."""
    return msgspec.structs.replace(card, metrics=())
