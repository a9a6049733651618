"""Where an alias pointed, and who moved it: rows that are only ever added."""

from modelyard.core.struct import Noun


class AliasMove(Noun):
    """One move of an alias. ``version`` is where it points since (None: it was removed), ``former`` where it pointed
    before (None: nowhere); ``digest`` is that of ``version``. ``time`` is seconds since the epoch."""

    id: int
    time: float
    model: str
    alias: str
    version: int | None
    former: int | None
    digest: str | None
    who: str
    why: str = ""


class LineageNode(Noun):
    """A version in a tree of those made from each other. ``relation`` and ``tradeoff`` are towards ``parent``, the
    index of another node of the same answer (None: the root)."""

    model: str
    number: int
    parent: int | None = None
    relation: str | None = None
    tradeoff: dict[str, object] | None = None
    aliases: tuple[str, ...] = ()
    deprecated: bool = False
    deleted: bool = False
