"""The rows below the files: which blobs there are, of which pieces, in which packs."""

import builtins
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from modelyard.store.blob_rows import BlobRow, PackRow, kept_of, select_blobs, select_kept
from modelyard.store.database import Database
from modelyard.store.pack import Kept
from modelyard.store.shared_clock import SharedClock
from modelyard.store.tables import blob_pieces, blobs, packs, pieces

_AT_ONCE: Final = 500  # values in one statement
_ATTEMPTS: Final = 3
_T = TypeVar("_T")


class Pieces:
    """The rows of one database. Each method is one transaction: what it was told is true when it ends.

    Times are of ``clock``: of several machines that collect beside each other, one whose own is fast would take what
    another has just asked for.
    """

    def __init__(self, database: Database, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self._clock = clock or SharedClock(database)

    def now(self) -> float:
        """The time by which it is said when blobs were used. Raises Unavailable."""
        return self._clock()

    def blob(self, digest: bytes) -> BlobRow | None:
        """The row of a blob; None where it has none (a whole one that was not looked at yet, too)."""
        with self._database.session() as session:
            row = session.execute(select_blobs().where(blobs.c.digest == digest)).one_or_none()
        return None if row is None else BlobRow(*row)

    def with_rows(self, digests: Iterable[bytes]) -> set[bytes]:
        """Those of the blobs that have a row."""
        found = set[bytes]()
        with self._database.session() as session:
            for some in _batches(list(digests)):
                rows = session.execute(select(blobs.c.digest).where(blobs.c.digest.in_(some)))
                found.update(bytes(row[0]) for row in rows)
        return found

    def blobs(self) -> builtins.list[BlobRow]:
        """All blobs that have a row."""
        with self._database.session() as session:
            return [BlobRow(*row) for row in session.execute(select_blobs())]

    def composition(self, digest: bytes) -> builtins.list[Kept]:
        """The pieces of a pieced blob, in order; none for what is not one."""
        query = (
            select_kept.join(blob_pieces, blob_pieces.c.piece_id == pieces.c.id)
            .join(blobs, blobs.c.id == blob_pieces.c.blob_id)
            .where(blobs.c.digest == digest)
            .order_by(blob_pieces.c.sequence)
        )
        with self._database.session() as session:
            return [kept_of(row) for row in session.execute(query)]

    def known(self, digests: Iterable[bytes]) -> dict[bytes, Kept]:
        """Where those of these pieces are that there are."""
        with self._database.session() as session:
            return _known(session, digests)

    def add_whole(self, digest: bytes, size: int, key: str, found: Sequence[Kept]) -> None:
        """A blob that is its own pack, and the pieces in it that nobody had yet."""

        def add(session: Connection) -> None:
            if _blob_id(session, digest) is not None:
                return
            pack = self._pack(session, key, size)
            self._insert(session, pack, found)
            self._blob(session, digest, size, True, pack)

        self._again(add)

    def add_pack(self, key: str, size: int, found: Sequence[Kept]) -> None:
        """Pieces of a pack that nobody had yet."""
        self._again(lambda session: self._insert(session, self._pack(session, key, size), found))

    def add_pieced(
        self,
        digest: bytes,
        size: int,
        key: str,
        stored: int,
        found: Sequence[Kept],
        order: Sequence[bytes],
        *,
        own: str | None = None,
    ) -> bool:
        """A blob put together of the pieces ``order``, of which ``found`` are in the pack ``key``.

        A whole blob that has a row becomes pieced. False, and nothing is kept, when one of the others has been
        collected meanwhile. With ``own`` only a blob that is that pack still, and whoever has pieces of it has those
        of the new one from here on.
        """

        def add(session: Connection) -> bool:
            others = set(order) - {each.digest for each in found}
            if len(_ids(session, others)) < len(others):
                return False
            if own is not None and not _taken(session, digest, own):
                return False
            pack = self._pack(session, key, stored)
            if own is not None:
                _move(session, pack, found)
            self._insert(session, pack, found)
            ids = _ids(session, set(order))
            blob = _blob_id(session, digest)
            if blob is not None:
                session.execute(delete(blob_pieces).where(blob_pieces.c.blob_id == blob))
                session.execute(update(blobs).where(blobs.c.id == blob).values(whole=False, pack_id=pack))
            else:
                blob = self._blob(session, digest, size, False, pack)
            rows = [
                {"blob_id": blob, "sequence": index, "piece_id": ids[each]}
                for index, each in enumerate(order)
            ]
            if rows:
                session.execute(insert(blob_pieces), rows)
            return True

        return self._again(add)

    def claim(self, digests: Iterable[bytes]) -> set[bytes]:
        """Those of the blobs that are there. They count as used now: whoever collects what is older leaves them."""
        found = set[bytes]()
        with self._database.begin() as session:
            now = self._clock()  # it may have waited to begin
            for some in _batches(list(digests)):
                session.execute(update(blobs).where(blobs.c.digest.in_(some)).values(used=now))
                rows = session.execute(select(blobs.c.digest).where(blobs.c.digest.in_(some)))
                found.update(bytes(row[0]) for row in rows)
        return found

    def forget(self, digest: bytes, *, before: float | None = None) -> bool:
        """Remove a blob's row, with ``before`` only of one that was not used since; whether it was removed."""
        query = delete(blobs).where(blobs.c.digest == digest)
        if before is not None:
            query = query.where(blobs.c.used < before)
        with self._database.begin() as session:
            return session.execute(query).rowcount > 0

    def drop(self, key: str) -> bool:
        """Remove a pack's rows unless something in it is referred to; whether it may go."""

        def remove(session: Connection) -> bool:
            id = session.execute(select(packs.c.id).where(packs.c.key == key)).scalar()
            if id is None:
                return True
            if session.execute(select(blobs.c.id).where(blobs.c.pack_id == id).limit(1)).first():
                return False
            used = (
                select(blob_pieces.c.piece_id)
                .join(pieces, pieces.c.id == blob_pieces.c.piece_id)
                .where(pieces.c.pack_id == id)
            )
            if session.execute(used.limit(1)).first():
                return False
            session.execute(delete(pieces).where(pieces.c.pack_id == id))
            session.execute(delete(packs).where(packs.c.id == id))
            return True

        try:
            return self._again(remove)
        except IntegrityError:
            return False  # somebody refers to it by now

    def packs(self) -> builtins.list[PackRow]:
        """All packs, and how much of each lives."""
        used = select(blob_pieces.c.piece_id).distinct().subquery()
        live = (
            select(pieces.c.pack_id, func.sum(pieces.c.stored).label("live"))
            .join(used, used.c.piece_id == pieces.c.id)
            .group_by(pieces.c.pack_id)
            .subquery()
        )
        whole = select(blobs.c.pack_id).where(blobs.c.whole).distinct().subquery()
        query = (
            select(packs.c.key, packs.c.size, packs.c.created, live.c.live, whole.c.pack_id)
            .outerjoin(live, live.c.pack_id == packs.c.id)
            .outerjoin(whole, whole.c.pack_id == packs.c.id)
            .order_by(packs.c.id)
        )
        with self._database.session() as session:
            return [
                PackRow(row[0], row[1], row[2], row[3] or 0, row[4] is not None)
                for row in session.execute(query)
            ]

    def has_pack(self, key: str) -> bool:
        """Whether a pack has rows."""
        with self._database.session() as session:
            return session.execute(select(packs.c.id).where(packs.c.key == key)).first() is not None

    def living(self, key: str) -> builtins.list[Kept]:
        """The pieces of a pack that a pieced blob refers to, in the order of the pack."""
        used = select(blob_pieces.c.piece_id).distinct().subquery()
        query = (
            select_kept.join(used, used.c.piece_id == pieces.c.id)
            .where(packs.c.key == key)
            .order_by(pieces.c.offset)
        )
        with self._database.session() as session:
            return [kept_of(row) for row in session.execute(query)]

    def in_pack(self, key: str) -> builtins.list[Kept]:
        """All pieces of a pack, in its order."""
        query = select_kept.where(packs.c.key == key).order_by(pieces.c.offset)
        with self._database.session() as session:
            return [kept_of(row) for row in session.execute(query)]

    def compositions_in(self, key: str) -> builtins.list[bytes]:
        """The pieced blobs whose composition is in a pack."""
        query = select(blobs.c.digest).join(packs).where(packs.c.key == key, ~blobs.c.whole)
        with self._database.session() as session:
            return [bytes(row[0]) for row in session.execute(query)]

    def move(
        self, old: str, key: str, stored: int, found: Sequence[Kept], compositions: Sequence[bytes]
    ) -> None:
        """Pieces and compositions of the pack ``old`` are in ``key`` now."""
        with self._database.begin() as session:
            pack = self._pack(session, key, stored)
            _move(session, pack, found)
            former = select(packs.c.id).where(packs.c.key == old).scalar_subquery()
            for some in _batches(compositions):
                session.execute(
                    update(blobs)
                    .where(blobs.c.digest.in_(some), blobs.c.pack_id == former)
                    .values(pack_id=pack)
                )

    def small(self, below: int, *, before: float, after: int, most: int) -> builtins.list[BlobRow]:
        """At most ``most`` whole blobs of fewer than ``below`` bytes that came before ``before``, with ids above
        ``after`` and in their order; no empty ones."""
        query = select_blobs().where(blobs.c.whole, blobs.c.size < below, blobs.c.size > 0)
        query = query.where(blobs.c.created < before, blobs.c.id > after).order_by(blobs.c.id).limit(most)
        with self._database.session() as session:
            return [BlobRow(*row) for row in session.execute(query)]

    def gather(
        self, key: str, stored: int, rows: Sequence[BlobRow], found: Sequence[Kept]
    ) -> builtins.list[BlobRow]:
        """Each blob of ``rows`` becomes the piece beside it in ``found``, all of the pack ``key``; those that did.

        One that was collected, or became pieced otherwise since its row was read, is left; with none left the pack
        has no row.
        """

        def take(session: Connection) -> builtins.list[BlobRow]:
            living = {
                bytes(each): pack
                for some in _batches([row.digest for row in rows])
                for each, pack in session.execute(
                    select(blobs.c.digest, packs.c.key)
                    .join(packs, packs.c.id == blobs.c.pack_id)
                    .where(blobs.c.whole, blobs.c.digest.in_(some))
                )
            }
            pairs = [
                (row, kept)
                for row, kept in zip(rows, found, strict=True)
                if living.get(row.digest) == row.pack
            ]
            if not pairs:
                return []
            pack = self._pack(session, key, stored)
            self._insert(session, pack, [kept for _, kept in pairs])
            ids = _ids(session, [row.digest for row, _ in pairs])
            session.execute(
                insert(blob_pieces),
                [{"blob_id": row.id, "sequence": 0, "piece_id": ids[row.digest]} for row, _ in pairs],
            )
            for some in _batches([row.digest for row, _ in pairs]):
                session.execute(
                    update(blobs).where(blobs.c.digest.in_(some)).values(whole=False, pack_id=pack)
                )
            return [row for row, _ in pairs]

        return self._again(take)

    def touch(self, digest: bytes) -> None:
        """A blob was used."""
        with self._database.begin() as session:
            session.execute(update(blobs).where(blobs.c.digest == digest).values(used=self._clock()))

    def users(self, digest: bytes) -> builtins.list[bytes]:
        """The pieced blobs that have this piece."""
        query = (
            select(blobs.c.digest)
            .join(blob_pieces, blob_pieces.c.blob_id == blobs.c.id)
            .join(pieces, pieces.c.id == blob_pieces.c.piece_id)
            .where(pieces.c.digest == digest)
            .distinct()
        )
        with self._database.session() as session:
            return [bytes(row[0]) for row in session.execute(query)]

    def _again(self, call: Callable[[Connection], _T]) -> _T:
        """``call`` in a transaction that writes; once more when another one came between, where several may write."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(IntegrityError), self._database.begin() as session:
                return call(session)
        with self._database.begin() as session:
            return call(session)

    def _pack(self, session: Connection, key: str, size: int) -> int:
        id = session.execute(select(packs.c.id).where(packs.c.key == key)).scalar()
        if id is not None:
            return id
        return _key(session.execute(insert(packs).values(key=key, size=size, created=self._clock())))

    def _insert(self, session: Connection, pack: int, found: Sequence[Kept]) -> None:
        known = _known(session, [each.digest for each in found])
        rows = {
            each.digest: {
                "digest": each.digest, "pack_id": pack, "offset": each.offset,
                "stored": each.stored, "size": each.size, "codec": each.codec,
            }
            for each in found
            if each.digest not in known
        }  # fmt: skip
        if rows:
            session.execute(insert(pieces), list(rows.values()))

    def _blob(self, session: Connection, digest: bytes, size: int, whole: bool, pack: int) -> int:
        now = self._clock()
        row = {"digest": digest, "size": size, "whole": whole, "pack_id": pack, "created": now, "used": now}
        return _key(session.execute(insert(blobs).values(**row)))


def _blob_id(session: Connection, digest: bytes) -> int | None:
    return session.execute(select(blobs.c.id).where(blobs.c.digest == digest)).scalar()


def _taken(session: Connection, digest: bytes, own: str) -> bool:
    """Whether a blob was whole in the pack ``own``; it is not from here on, and others who want it so wait and see."""
    pack = select(packs.c.id).where(packs.c.key == own).scalar_subquery()
    row = update(blobs).where(blobs.c.digest == digest, blobs.c.whole, blobs.c.pack_id == pack)
    return session.execute(row.values(whole=False)).rowcount > 0


def _move(session: Connection, pack: int, found: Iterable[Kept]) -> None:
    """Those of the pieces that are known lie in the pack of this row."""
    for each in found:
        session.execute(
            update(pieces)
            .where(pieces.c.digest == each.digest)
            .values(pack_id=pack, offset=each.offset, stored=each.stored, codec=each.codec)
        )


def _known(session: Connection, digests: Iterable[bytes]) -> dict[bytes, Kept]:
    found: dict[bytes, Kept] = {}
    for some in _batches(list(digests)):
        for row in session.execute(select_kept.where(pieces.c.digest.in_(some))):
            kept = kept_of(row)
            found[kept.digest] = kept
    return found


def _ids(session: Connection, digests: Iterable[bytes]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for some in _batches(list(digests)):
        for row in session.execute(select(pieces.c.digest, pieces.c.id).where(pieces.c.digest.in_(some))):
            found[bytes(row[0])] = row[1]
    return found


def _batches(values: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _key(result: Any) -> int:
    (id,) = result.inserted_primary_key or (None,)
    assert isinstance(id, int)
    return id
