"""What a scan says of a file: findings, and the verdict that follows from them."""

from typing import Final, Literal

from modelyard.core.struct import Noun

VerdictName = Literal["clean", "executes", "malicious", "unreadable", "unscanned"]
Level = Literal["note", "executes", "malicious", "unreadable"]

# From the best to the worst: what a version is, is the worst of its files by any scanner.
ORDER: Final[tuple[VerdictName, ...]] = ("clean", "unscanned", "unreadable", "executes", "malicious")


class Finding(Noun):
    """One thing in a file that could execute, or that hides what it is.

    ``where`` is the path inside nested containers (empty: the file itself; ``model.pt/archive/data.pkl``
    without its first part), ``offset`` the byte there, ``reaches`` the global, operator or name that it reaches.
    A ``note`` changes no verdict.
    """

    level: Level
    what: str
    where: str = ""
    offset: int | None = None
    reaches: str | None = None


class Verdict(Noun):
    """What one scanner of one version says of the bytes ``sha256``. ``time`` is seconds since the epoch;
    ``more`` counts findings beside those that are kept."""

    sha256: str
    scanner: str
    version: str
    verdict: VerdictName
    findings: tuple[Finding, ...] = ()
    more: int = 0
    time: float = 0.0


class FileScan(Noun):
    """One file of a version with what every scanner said of it."""

    path: str
    sha256: str
    verdict: VerdictName
    verdicts: tuple[Verdict, ...] = ()


class VersionScan(Noun):
    """What is known of the safety of a version. ``quarantine`` says why it may not be deployed (None: it may);
    ``absent`` names scanners that could have looked too, with the reason why they did not."""

    model: str
    number: int
    verdict: VerdictName
    files: tuple[FileScan, ...]
    quarantine: str | None = None
    absent: dict[str, str] = {}


def worst(names: list[VerdictName]) -> VerdictName:
    """The worst of several verdicts; ``clean`` of none."""
    found: VerdictName = "clean"
    for name in names:
        found = name if ORDER.index(name) > ORDER.index(found) else found
    return found


def verdict_of(levels: list[Level]) -> VerdictName:
    """The verdict that follows from findings."""
    names: list[VerdictName] = [level for level in levels if level != "note"]
    return worst(names)
