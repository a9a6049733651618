"""Who has which bytes: blobs are kept once for all projects, and nobody learns from that what another project has.

A project has the blobs that its versions refer to, and those that were sent in its uploads.
"""

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Connection, delete, insert, select

from modelyard.core.manifest import Manifest
from modelyard.store import tables
from modelyard.store.nouns import unpack

_AT_ONCE = 500


def refer(session: Connection, version_id: int, manifest: Manifest) -> None:
    """A version has come; its blobs are its project's."""
    rows = [
        {"version_id": version_id, "digest": bytes.fromhex(sha256)}
        for sha256 in sorted({file.sha256 for file in manifest.files})
    ]
    if rows:
        session.execute(insert(tables.version_blobs), rows)


def had(session: Connection, project: str, digests: Collection[str]) -> set[str]:
    """Those of ``digests`` (SHA-256 in hex) that ``project`` has."""
    found: set[str] = set()
    for part in _parts(sorted(digests)):
        of_versions = (
            select(tables.version_blobs.c.digest)
            .join(tables.versions, tables.versions.c.id == tables.version_blobs.c.version_id)
            .join(tables.models, tables.models.c.id == tables.versions.c.model_id)
            .where(
                tables.models.c.project == project,
                tables.version_blobs.c.digest.in_([bytes.fromhex(each) for each in part]),
            )
        )
        of_uploads = (
            select(tables.upload_blobs.c.sha256)
            .join(tables.uploads, tables.uploads.c.id == tables.upload_blobs.c.upload_id)
            .where(tables.uploads.c.project == project, tables.upload_blobs.c.sha256.in_(part))
        )
        found |= {digest.hex() for digest in session.execute(of_versions).scalars()}
        found |= set(session.execute(of_uploads).scalars())
    return found


def rebuild(session: Connection) -> None:
    """Make all that is known of versions anew, within a transaction about everything."""
    session.execute(delete(tables.version_blobs))
    for id, manifest in session.execute(
        select(tables.versions.c.id, tables.versions.c.manifest_json)
    ).all():
        refer(session, id, unpack(manifest, Manifest))


def _parts(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(digests), _AT_ONCE):
        yield digests[start : start + _AT_ONCE]
