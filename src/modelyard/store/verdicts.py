"""Verdicts: what a scanner of a version said of the bytes of a file. Of the same bytes it need not be asked twice."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from modelyard.core.scan import Finding, Verdict
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack
from modelyard.store.tables import verdicts

_ATTEMPTS: Final = 3
_AT_ONCE: Final = 500  # names in one question: databases have a limit


class Verdicts:
    """The verdicts of one database: the last one of each scanner on each file."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def of(self, digests: Sequence[str]) -> dict[str, list[Verdict]]:
        """All verdicts on these files, by SHA-256; the scanners in order of their names."""
        found: dict[str, list[Verdict]] = {digest: [] for digest in digests}
        names = list(found)
        with self._database.session() as session:
            for begin in range(0, len(names), _AT_ONCE):
                wanted = verdicts.c.sha256.in_(names[begin : begin + _AT_ONCE])
                for row in session.execute(select(verdicts).where(wanted).order_by(verdicts.c.scanner)):
                    found[row.sha256].append(
                        Verdict(
                            sha256=row.sha256,
                            scanner=row.scanner,
                            version=row.version,
                            verdict=row.verdict,
                            findings=unpack(row.findings_json, tuple[Finding, ...]),
                            more=row.more,
                            time=row.time,
                        )
                    )
        return found

    def keep(self, given: Sequence[Verdict]) -> None:
        """Put these in the place of what the same scanners said of the same files before."""
        for attempt in range(_ATTEMPTS):
            try:
                with self._database.begin() as session:
                    for each in given:
                        self._put(session, each)
                return
            except IntegrityError:
                # Another process put the same there between our two statements; what it says is as good.
                if attempt == _ATTEMPTS - 1:
                    raise

    def _put(self, session: Connection, verdict: Verdict) -> None:
        same = (verdicts.c.sha256 == verdict.sha256, verdicts.c.scanner == verdict.scanner)
        session.execute(delete(verdicts).where(*same))
        session.execute(
            insert(verdicts).values(
                sha256=verdict.sha256,
                scanner=verdict.scanner,
                version=verdict.version[:128],
                verdict=verdict.verdict,
                findings_json=pack(verdict.findings),
                more=verdict.more,
                time=verdict.time or self._clock(),
            )
        )

    def forget(self, needed: set[str]) -> int:
        """Forget verdicts on files that are not ``needed`` (SHA-256) any more, unless they are bad: the same bytes
        may come again. How many."""
        with self._database.session() as session:
            query = select(verdicts.c.sha256).where(verdicts.c.verdict != "malicious").distinct()
            gone = [digest for digest in session.execute(query).scalars() if digest not in needed]
        if gone:
            with self._database.begin() as session:
                for digest in gone:
                    session.execute(delete(verdicts).where(verdicts.c.sha256 == digest))
        return len(gone)
