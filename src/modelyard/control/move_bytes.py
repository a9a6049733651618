"""Moves the bytes of all models from a home's disk into a bucket, back, or from one bucket to another.

First everything is copied, each blob compared with its digest on the way; a home that is used again in between loses
nothing, and what is there already is not sent again. Then, from a note on, the home is in the other place: the rows
of where bytes lie are replaced in one transaction, ``modelyard.toml`` says it, what was on the disk is set aside. Killed
within that, no program opens the home until the same command has ended it.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from modelyard.control.blob_store import DISK, bucket_note, moving, moving_to, open_blobs
from modelyard.control.migrate import set_setting
from modelyard.core.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    RejectedContent,
)
from modelyard.core.settings import Home, Settings
from modelyard.core.struct import Noun
from modelyard.host.files import write_whole
from modelyard.host.home import prepare, read_key
from modelyard.host.lock import ProgramLock
from modelyard.store import rows, whereabouts
from modelyard.store.assembly import Damaged
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.database import Database, open_database
from modelyard.store.durable import sync_folder
from modelyard.store.homes import Homes
from modelyard.store.pieces import Pieces
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions

Tell = Callable[[str], None]


class BytesMoved(Noun):
    """What was moved: how many blobs, their bytes, from where, to where. ``kept`` is where the former ones still
    are; ``notes`` say what is left to do by hand."""

    source: str
    target: str
    blobs: int
    bytes: int
    kept: str
    notes: tuple[str, ...] = ()


def move_bytes(settings: Settings, to: str, tell: Tell) -> BytesMoved:
    """Move the bytes of the home's models to ``to`` (a bucket, or :data:`DISK`).

    Raises Conflict while a control plane of this database runs, for a bucket with something in it; InvalidInput when
    they are there already; RejectedContent for a version whose bytes are damaged or gone; Forbidden, Unavailable.
    """
    home = Home(settings.home)
    to = to if to == DISK else to.rstrip("/")
    with contextlib.ExitStack() as stack:
        if to != DISK:
            open_bucket(to)  # an address that cannot be is told before anything else
        prepare(home)
        shutil.rmtree(_done(home), ignore_errors=True)
        lock = ProgramLock(home.run, "control")
        lock.acquire()
        stack.callback(lock.release)
        database = open_database(settings)
        stack.callback(database.close)
        database.migrate()
        _refuse_running(home, database, settings.takeover_after)
        begun = moving_to(home)
        if begun is not None and begun != to:
            raise Conflict(
                f"The bytes are on their way to {begun}; end that first: modelyard migrate --blobs {begun}"
            )
        if begun is None:
            if (settings.blobs or DISK).rstrip("/") == to:
                raise InvalidInput(
                    f"The bytes are {'on the disk' if to == DISK else f'in {to}'} already; there is nothing to move.",
                    field="blobs",
                )
            _copy(home, database, open_blobs(settings, home, database), to, tell)
        return _become(home, settings, database, to, tell)


def _refuse_running(home: Home, database: Database, silence: float) -> None:
    if not database.is_shared:
        return
    own = read_key(home.id)
    living = [
        each.host for each in Homes(database, silence=silence).list() if not each.gone and each.id != own
    ]
    if living:
        raise Conflict(
            f"Other control planes of this database run ({', '.join(living[:5])}): stop all (modelyard down), since "
            f"they would go on where the bytes were. One that has just stopped counts for {silence:g} seconds more."
        )


def _copy(home: Home, database: Database, source: BlobStore, to: str, tell: Tell) -> None:
    """All that versions and uploads refer to, into the new place with rows of its own."""
    needed = Versions(database).referenced_digests()
    also = {digest for digest in Uploads(database).referenced_digests() - needed if source.has(digest)}
    with _target(home, to) as target:
        _require_own(target, to)
        for number, digest in enumerate(sorted(needed | also), 1):
            tell(f"blob {number} of {len(needed | also)}")
            try:
                if not target.has(digest):
                    target.put(source.open(digest), sha256=digest, size=source.size(digest))
                    target.cache.remove(digest)  # this disk has it already, or may not want it
            except (Damaged, NotFound, InvalidInput) as error:
                raise RejectedContent(
                    f"The blob {digest} is damaged or gone where it lies ({error.message.rstrip('.')}). Nothing was "
                    "moved; see: modelyard store verify --deep --repair"
                ) from error


@contextlib.contextmanager
def _target(home: Home, to: str) -> Iterator[BlobStore]:
    """The new place, under the folder of what is on its way."""
    folder = moving(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    note = folder / "target"
    if note.is_file() and note.read_text() != to:  # of a move that was given up
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    write_whole(note, to.encode())
    database = Database(folder / "rows.db")
    try:
        database.migrate()
        bucket = None if to == DISK else open_bucket(to)
        yield BlobStore(folder, Pieces(database), bucket)
    finally:
        database.close()


def _require_own(target: BlobStore, to: str) -> None:
    """Nothing is put beside what is somebody else's; that an earlier try was here, its rows say."""
    if not target.remote or (target.pieces is not None and target.pieces.packs()):
        return
    for prefix in ("objects", "packs"):
        for found in target.place.objects(prefix):
            raise Conflict(
                f"There are blobs in {to} already ({found.key}); name a prefix that is empty.",
                field="blobs",
            )


def _become(home: Home, settings: Settings, database: Database, to: str, tell: Tell) -> BytesMoved:
    """From here on they are in the new place: every step may have been done before."""
    folder = moving(home)
    former = settings.blobs.rstrip("/") if settings.blobs is not None else None
    if moving_to(home) is None:
        write_whole(folder / "from", (former or DISK).encode(), durable=True)
        write_whole(folder / "to", to.encode(), durable=True)
    source = (folder / "from").read_text()
    tell("writing the rows")
    if to == DISK:
        _take(folder / "objects", home.blobs / "objects")
    count, size = _replace_rows(home, database, to)
    tell("writing modelyard.toml")
    set_setting(home.config, "blobs", None if to == DISK else to)
    kept = source
    if source == DISK:
        kept = str(_set_aside(home))
    if to == DISK:
        bucket_note(home).unlink(missing_ok=True)
    else:
        write_whole(bucket_note(home), f"{to}\n".encode(), durable=True)
    sync_folder(home.blobs)
    folder.rename(_done(home))
    shutil.rmtree(_done(home))
    notes: list[str] = []
    named = os.environ.get("MODELYARD_BLOBS")
    if named is not None and named.rstrip("/") != (None if to == DISK else to):
        notes.append("MODELYARD_BLOBS is set and still names the former place: change it where it is set.")
    if database.is_shared:
        notes.append("Other homes of this database: set their `blobs` to the same, and start them again.")
    return BytesMoved(source=source, target=to, blobs=count, bytes=size, kept=kept, notes=tuple(notes))


def _replace_rows(home: Home, database: Database, to: str) -> tuple[int, int]:
    """What the rows say of where bytes lie becomes what the copy's rows say; blobs and bytes."""
    place = whereabouts.folder_of(home.blobs) if to == DISK else to
    copied = Database(moving(home) / "rows.db")
    tables = [table for table in rows.TABLES if table.name in rows.OF_BYTES]
    try:
        with copied.session() as new, database.begin() as session:
            if whereabouts.noted(session) != place:  # or else it was done, and others may use it by now
                for table in reversed(tables):
                    session.execute(table.delete())
                if to != DISK:  # what is whole on a disk needs no rows
                    for table in tables:
                        rows.write(session, table, rows.read(new, table))
                whereabouts.note(session, place)
                rows.attune(session)
        blobs = BlobStore(home.blobs, Pieces(copied), None if to == DISK else open_bucket(to))
        sizes = [blobs.size(digest) for digest in blobs.digests()]
    finally:
        copied.close()
    return len(sizes), sum(sizes)


def _done(home: Home) -> Path:
    return home.blobs / "moving.done"


def _take(source: Path, target: Path) -> None:
    """The folder of the copy in place of an empty one; nothing when that was done."""
    if source.is_dir():
        with contextlib.suppress(FileNotFoundError):
            target.rmdir()
        source.rename(target)
    sync_folder(target.parent)


def _set_aside(home: Home) -> Path:
    """What lay on the disk, under a name that no start looks for."""
    number = 1
    there = [each for each in ("objects", "packs") if any((home.blobs / each).glob("??/*"))]
    while (aside := home.blobs / f"moved-{number}").exists():
        number += 1
    if not there and number > 1:
        return home.blobs / f"moved-{number - 1}"  # it was done before the command was cut off
    aside.mkdir(mode=0o700)
    for each in there:
        (home.blobs / each).rename(aside / each)
    return aside
