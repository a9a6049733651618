"""When each blob was last read and compared, and what was wrong with it then.

Of the blobs that versions refer to. What has no row was compared when it came, which was before its first version.
"""

import builtins
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select

from modelyard.store.audit import Audit
from modelyard.store.checking import Trouble
from modelyard.store.database import Database
from modelyard.store.nouns import pack, unpack
from modelyard.store.tables import blob_checks, version_blobs, versions
from modelyard.store.versions import Versions

SUBJECT: Final = "blob checks"
_AT_ONCE: Final = 500

_since = func.coalesce(blob_checks.c.checked, func.min(versions.c.created))
_ages = (
    select(version_blobs.c.digest, _since.label("since"), blob_checks.c.trouble_json)
    .join(versions, versions.c.id == version_blobs.c.version_id)
    .outerjoin(blob_checks, blob_checks.c.digest == version_blobs.c.digest)
    .group_by(version_blobs.c.digest, blob_checks.c.checked, blob_checks.c.trouble_json)
)


class Age(NamedTuple):
    """A blob, when it was last compared (seconds since the epoch), and what is wrong with it since."""

    sha256: str
    since: float
    trouble: Trouble | None


class Checks:
    """The rows of one database. Times are those of the clock that all who share it go by."""

    def __init__(self, database: Database, versions: Versions, audit: Audit) -> None:
        self._database = database
        self._versions = versions
        self._audit = audit

    def due(self, before: float, most: int) -> builtins.list[str]:
        """At most so many digests of blobs that were not compared since ``before``, the oldest first."""
        query = _ages.having(_since < before).order_by("since", version_blobs.c.digest).limit(most)
        with self._database.session() as session:
            return [bytes(row[0]).hex() for row in session.execute(query)]

    def list(self) -> builtins.list[Age]:
        """Of all blobs, in no order."""
        with self._database.session() as session:
            return [
                Age(bytes(digest).hex(), since, None if told is None else unpack(told, Trouble))
                for digest, since, told in session.execute(_ages)
            ]

    def wrong(self) -> builtins.list[str]:
        """The digests of those that were not in order when they were last compared."""
        query = select(blob_checks.c.digest).where(blob_checks.c.trouble_json.is_not(None))
        with self._database.session() as session:
            return [bytes(digest).hex() for digest in session.execute(query).scalars()]

    def note(self, found: Mapping[str, Trouble | None], now: float) -> None:
        """These blobs were read and compared now. What is wrong, and what is right again, is written into the audit
        for each model whose it is: once, not again while it stays so."""
        if not found:
            return
        with self._database.begin(SUBJECT) as session:
            wrong = self._wrong(session, found)
            rows: builtins.list[dict[str, object]] = []
            for sha256, trouble in found.items():
                stays = trouble is not None and not trouble.repaired
                if trouble is not None and trouble.repaired:
                    self._tell(session, "blob.repaired", sha256, trouble.message, trouble.place)
                elif trouble is not None and sha256 not in wrong:
                    self._tell(session, f"blob.{trouble.kind}", sha256, trouble.message, trouble.place)
                elif trouble is None and sha256 in wrong:
                    self._tell(session, "blob.repaired", sha256, wrong[sha256].message, wrong[sha256].place)
                told = pack(trouble) if stays else None
                rows.append({"digest": bytes.fromhex(sha256), "checked": now, "trouble_json": told})
            for some in _batches(list(found)):
                session.execute(delete(blob_checks).where(blob_checks.c.digest.in_(some)))
            session.execute(insert(blob_checks), rows)

    def forget(self) -> int:
        """Remove the rows of blobs that no version refers to any more; how many."""
        used = select(version_blobs.c.digest).where(version_blobs.c.digest == blob_checks.c.digest)
        with self._database.begin(SUBJECT) as session:
            return session.execute(delete(blob_checks).where(~used.exists())).rowcount

    def _wrong(self, session: Connection, digests: Collection[str]) -> dict[str, Trouble]:
        found: dict[str, Trouble] = {}
        query = select(blob_checks.c.digest, blob_checks.c.trouble_json)
        for some in _batches(list(digests)):
            where = blob_checks.c.digest.in_(some), blob_checks.c.trouble_json.is_not(None)
            found.update(
                (bytes(digest).hex(), unpack(told, Trouble))
                for digest, told in session.execute(query.where(*where))
            )
        return found

    def _tell(self, session: Connection, what: str, sha256: str, message: str, place: str) -> None:
        by_model: dict[str, tuple[str, builtins.list[str]]] = {}
        for model, number, path in self._versions.with_blob(sha256, session):
            _, files = by_model.setdefault(model, (f"{model}/{number}", []))
            files.append(f"{number}/{path}")
        for subject, files in by_model.values():
            more = f" and {len(files) - 5} more" if len(files) > 5 else ""
            why = f"{', '.join(files[:5])}{more}: {message} ({sha256} in {place})"
            self._audit.record("system", what, subject, why, session)


def _batches(digests: Sequence[str]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(digests), _AT_ONCE):
        yield [bytes.fromhex(each) for each in digests[start : start + _AT_ONCE]]
