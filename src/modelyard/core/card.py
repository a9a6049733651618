"""The card of a model: what people should know of it beside its files."""

import re
from typing import Final

import msgspec

from modelyard.core.errors import InvalidInput
from modelyard.core.figure import figures_of
from modelyard.core.licence import allows_commercial, check_licence
from modelyard.core.metrics import MAX_TABLES, MetricsTable, check_table
from modelyard.core.struct import Noun

MAX_TEXT: Final = 256 * 1024  # characters of Markdown
_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9._+-]{0,62}[a-z0-9+])?")


class Card(Noun):
    """``text`` is Markdown (None: the README of a version's files, where it has one). ``licence`` is an SPDX
    identifier, ``commercial`` whether it allows commercial use (None: not known). ``task``, ``category`` and ``tags``
    are lower-case words such as ``token-classification``; ``architecture`` is a name such as ``BertModel`` (None: what
    the analysis of a version says)."""

    title: str = ""
    summary: str = ""
    text: str | None = None
    task: str | None = None
    category: str | None = None
    architecture: str | None = None
    licence: str | None = None
    commercial: bool | None = None
    paper: str | None = None
    homepage: str | None = None
    tags: tuple[str, ...] = ()
    metrics: tuple[MetricsTable, ...] = ()

    def figures(self, version: str) -> dict[str, float]:
        """The numbers that ``version`` (``fraud/3``) was pushed with, by what was measured (and on what)."""
        own = (table for table in self.metrics if table.source == version)
        return {figure.told: figure.value for figure in figures_of(own)}

    def filled(self, other: "Card") -> "Card":
        """This card, with what it does not say yet taken from ``other``."""
        lacking = {
            name: getattr(other, name)
            for name in self.__struct_fields__
            if getattr(self, name) in (None, "", ()) and name not in ("licence", "commercial")
        }
        if (
            self.licence is None and self.commercial is None
        ):  # what is said of one licence is not true of another
            lacking |= {"licence": other.licence, "commercial": other.commercial}
        return msgspec.structs.replace(self, **lacking)


class CardAnswer(Noun):
    """A model's card as it reads for one of its versions. ``readme`` says whether the text is that version's README;
    ``set_by`` who changed the card last (None: nobody), ``changed`` when."""

    model: str
    version: int
    card: Card
    readme: bool = False
    set_by: str | None = None
    changed: float | None = None


def check_card(card: Card) -> Card:
    """``card`` as it is kept: tags once and sorted, the licence as SPDX writes it, ``commercial`` as the licence says
    where nobody else did. Raises InvalidInput naming the field."""
    for name, most in (("title", 200), ("summary", 2000), ("text", MAX_TEXT), ("architecture", 200)):
        if len(getattr(card, name) or "") > most:
            raise InvalidInput(f"This is longer than {most} characters.", field=name)
    for name in ("task", "category"):
        if getattr(card, name) is not None:
            _check_word(getattr(card, name), name)
    if len(card.tags) > 100:
        raise InvalidInput("A card has 100 tags at most.", field="tags")
    for tag in card.tags:
        _check_word(tag, "tags")
    for name in ("paper", "homepage"):
        url = getattr(card, name)
        if url is not None and (len(url) > 2000 or re.fullmatch(r"https?://[^\s<>\"]+", url) is None):
            raise InvalidInput(f"{url[:80]!r} is no web address; write https://….", field=name)
    if len(card.metrics) > MAX_TABLES:
        raise InvalidInput(f"A card has {MAX_TABLES} tables of metrics at most.", field="metrics")
    for index, table in enumerate(card.metrics):
        check_table(table, f"metrics[{index}]")
    licence = None if card.licence is None else check_licence(card.licence)
    commercial = card.commercial
    if commercial is None and licence is not None:
        commercial = allows_commercial(licence)
    return msgspec.structs.replace(
        card, licence=licence, commercial=commercial, tags=tuple(sorted(set(card.tags)))
    )


def word_of(text: str) -> str | None:
    """The nearest word that can be a tag, a task or a category; None when there is none."""
    folded = re.sub(r"[^a-z0-9._+-]+", "-", text.lower()).strip("._-")[:64].strip("._-")
    return folded if _WORD.fullmatch(folded) else None


def _check_word(word: str, field: str) -> None:
    if _WORD.fullmatch(word) is None:
        raise InvalidInput(
            f"{word[:80]!r} cannot be one: use 1 to 64 lower-case letters, digits, '-', '_', '+' or '.', beginning with "
            "a letter or a digit, such as token-classification.",
            field=field,
        )
