"""One piece of content as the kinds see it, and where they put what they find."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from modelyard.core.scan import Finding, Level
from modelyard.registry.scan.source import DEEPEST, Budget, Source, TooMuch

_KEPT: Final = 100  # findings of a file
HEAD: Final = 4096


class View:
    """``name`` is the last part of its path, ``where`` the path inside the file; ``script``: it lies in a
    TorchScript archive. ``head`` are its first bytes."""

    def __init__(
        self, source: Source, name: str, where: str = "", *, depth: int = 0, script: bool = False
    ) -> None:
        self.source = source
        self.name = name
        self.where = where
        self.depth = depth
        self.script = script
        self.head = source.read(0, HEAD)

    def inside(self, source: Source, name: str, *, script: bool = False) -> "View":
        """A member. Raises TooMuch when it lies too deep."""
        if self.depth + 1 > DEEPEST:
            raise TooMuch(f"what lies deeper than {DEEPEST} archives in each other is not looked at")
        where = f"{self.where}/{name}" if self.where else name
        last = name.rstrip("/").rpartition("/")[2]
        return View(source, last, where[:500], depth=self.depth + 1, script=script or self.script)


class Shared:
    """What all reports on one file have in common."""

    def __init__(self, budget: Budget, look: "Callable[[View, Report], None]") -> None:
        self.budget = budget
        self.look = look
        self.opinion: Callable[[Source, int, int, Report], None] | None = (
            None  # of another scanner, on each pickle
        )
        self.findings: list[Finding] = []
        self.more = 0
        self.opcodes = 0
        self.pickles = 0


class Report:
    """Takes findings of what lies at ``where``."""

    def __init__(self, shared: Shared, where: str = "", depth: int = 0) -> None:
        self.shared = shared
        self.where = where
        self.depth = depth

    @property
    def budget(self) -> Budget:
        return self.shared.budget

    @property
    def opcodes(self) -> int:
        return self.shared.opcodes

    @opcodes.setter
    def opcodes(self, count: int) -> None:
        self.shared.opcodes = count

    @property
    def pickles(self) -> int:
        return self.shared.pickles

    @pickles.setter
    def pickles(self, count: int) -> None:
        self.shared.pickles = count

    def add(self, level: Level, what: str, offset: int | None = None, reaches: str | None = None) -> None:
        """Keep a finding; of very many the worst are kept, and the rest is counted."""
        found = Finding(
            level=level, what=_plain(what)[:400], where=_plain(self.where), offset=offset,
            reaches=None if reaches is None else _plain(reaches)[:200],
        )  # fmt: skip
        kept = self.shared.findings
        if found in kept:
            return
        if len(kept) < _KEPT:
            kept.append(found)
            return
        self.shared.more += 1
        if level == "malicious" and (
            mild := next((each for each in kept if each.level != "malicious"), None)
        ):
            kept[kept.index(mild)] = found

    def look(self, view: View) -> None:
        """Look at a member with all kinds. Raises TooMuch."""
        self.budget.member()
        self.shared.look(view, Report(self.shared, view.where, view.depth))

    @contextmanager
    def inside(self, name: str) -> Iterator["Report"]:
        """A report on what lies within. Raises TooMuch when that is too deep."""
        if self.depth + 1 > DEEPEST:
            raise TooMuch(f"what lies deeper than {DEEPEST} pickles in each other is not looked at")
        yield Report(self.shared, f"{self.where}/{name}" if self.where else name, self.depth + 1)


def _plain(text: str) -> str:
    """Printable, and valid Unicode: names in an attack are chosen by the attacker."""
    told = text.encode("utf-8", "backslashreplace").decode()
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in told)
