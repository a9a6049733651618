"""The audit: who changed what, when and why."""

from modelyard.core.struct import Noun


class AuditEntry(Noun):
    """One change. ``time`` is seconds since the epoch; ``what`` is ``noun.verb``. ``project`` is the one that it was
    in; None: the installation's."""

    id: int
    time: float
    who: str
    what: str
    subject: str
    why: str = ""
    project: str | None = None
