"""What an entry says of its model, as the card of a model that is deployed from it."""

from modelyard.catalog.entry import Entry
from modelyard.core.card import Card, check_card, word_of


def card_of(entry: Entry) -> Card:
    """Licence, category, paper and the rest, as the entry has read them."""
    tags = (word_of(tag) for tag in entry.tags)
    return check_card(
        Card(
            title=entry.title,
            summary=entry.description,
            category=entry.category,
            licence=entry.licence.spdx,
            commercial=entry.licence.commercial,
            paper=entry.paper,
            homepage=entry.homepage or None,
            tags=tuple(tag for tag in tags if tag is not None),
        )
    )
