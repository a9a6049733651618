"""Where the files of versions came from: a row for each source, uploader and client."""

import hashlib

import msgspec
from sqlalchemy import Connection, insert, select, update

from modelyard.core.provenance import Arrival, Provenance
from modelyard.store.nouns import pack, unpack
from modelyard.store.tables import provenance


def note(session: Connection, version_id: int, digest: str, arrival: Arrival, now: float) -> None:
    """Keep ``arrival`` of the files of ``digest`` in the transaction ``session``; one that is known was seen again."""
    text = pack(arrival)
    key = hashlib.sha256(text.encode()).hexdigest()
    this = (provenance.c.version_id == version_id) & (provenance.c.key == key)
    if session.execute(update(provenance).where(this).values(last=now)).rowcount:
        return
    session.execute(
        insert(provenance).values(
            version_id=version_id, key=key, digest=digest, arrival_json=text, first=now, last=now
        )
    )


def read(session: Connection, version_id: int) -> list[Provenance]:
    """All of a version, the first one first."""
    rows = session.execute(
        select(provenance).where(provenance.c.version_id == version_id).order_by(provenance.c.id)
    )
    return [
        Provenance(
            **msgspec.structs.asdict(unpack(row.arrival_json, Arrival)),
            digest=row.digest,
            first=row.first,
            last=row.last,
        )
        for row in rows
    ]
