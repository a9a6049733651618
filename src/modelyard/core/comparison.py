"""What differs between two versions, as far as their files and analyses tell."""

from typing import Literal

from msgspec.structs import replace

from modelyard.core.card import Card
from modelyard.core.struct import Noun

Kind = Literal["added", "removed", "changed"]


class Change(Noun):
    """One difference. ``what`` names it (a path, a tensor, ``input x``, a fact); what is not on one side is None."""

    what: str
    kind: Kind
    before: str | None = None
    after: str | None = None


class TensorChanges(Noun):
    """How the weights differ. ``compared``: by the ``headers`` alone (names, types, shapes), or by their ``contents`` as
    well. ``same`` of them are alike by that; ``unread`` have the same type and shape in files that differ, and whether
    their numbers do was not asked."""

    compared: Literal["headers", "contents"]
    same: int
    unread: int
    changes: tuple[Change, ...]


class Comparison(Noun):
    """From one version to another. Sizes are bytes. ``tensors`` is None where a format does not tell its tensors, and
    ``note`` says why. ``figures`` are those that both or one of them was pushed with: before and after, None where one
    has not got it."""

    before: str
    after: str
    identical: bool
    size_before: int
    size_after: int
    signature: tuple[Change, ...]
    facts: tuple[Change, ...]
    files: tuple[Change, ...]
    tensors: TensorChanges | None = None
    note: str = ""
    figures: dict[str, tuple[float | None, float | None]] = {}


def with_figures(made: Comparison, before: Card, after: Card) -> Comparison:
    """The comparison with what the cards of both say that each was measured at."""
    old, new = before.figures(made.before), after.figures(made.after)
    return replace(made, figures={name: (old.get(name), new.get(name)) for name in (old | new)})
