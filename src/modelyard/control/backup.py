"""A home in one file: rows, blobs, settings, key. Made while it runs, and compared when it is brought back.

A tar archive without compression (weights do not compress): ``backup.json`` (what is in it), ``home/…`` (settings
and keys), ``rows/<table>`` (a row a line), ``blobs/<sha256>``.
"""

import contextlib
import hashlib
import io
import os
import secrets
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import msgspec
from sqlalchemy import Table

from modelyard.control.blob_store import open_blobs
from modelyard.control.migrate import OF_HOMES, set_setting
from modelyard.core.errors import (
    Conflict,
    Internal,
    InvalidInput,
    ModelyardError,
    NotFound,
    RejectedContent,
)
from modelyard.core.manifest import Manifest
from modelyard.core.settings import Home, Settings
from modelyard.core.struct import Noun
from modelyard.core.version import VERSION
from modelyard.host.files import write_whole
from modelyard.host.home import prepare
from modelyard.host.lock import ProgramLock
from modelyard.store import rows
from modelyard.store.blobs import BlobStore
from modelyard.store.database import REVISION, Database, open_database
from modelyard.store.durable import disk_error, sync_folder
from modelyard.store.nouns import unpack

_FORMAT: Final = 1
_HEAD: Final = "backup.json"
_KEPT: Final = ("modelyard.toml", "key", "id")
_CHUNK: Final = 1024 * 1024
_IN_MEMORY: Final = 16 * _CHUNK
_LARGEST_TEXT: Final = _CHUNK  # settings and keys
Tell = Callable[[str], None]


class Backup(Noun):
    """What is in the file. ``created`` is seconds since the epoch, ``bytes`` those of the blobs."""

    format: int
    version: str
    revision: str
    created: float
    database: str
    tables: dict[str, rows.Content]
    blobs: int
    bytes: int


def back_up(settings: Settings, file: Path, tell: Tell) -> Backup:
    """Write ``file`` (mode 0600: the key is in it), whole or not at all; safe beside a running platform.

    Raises Conflict when there is such a file, RejectedContent for a blob that is damaged, NotFound for one that is
    gone, Unavailable for a disk or a database that does not work.
    """
    home = Home(settings.home)
    if file.exists():
        raise Conflict(f"{file} is there already; name another file, or remove it.", field="file")
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    database = open_database(settings)
    try:
        database.migrate()
        blobs = open_blobs(settings, home, database)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Nothing that the rows refer to is collected meanwhile.
        with os.fdopen(descriptor, "wb") as out, blobs.referring():
            made = _write(home, database, blobs, out, tell)
            out.flush()
            os.fsync(out.fileno())
        part.rename(file)
        sync_folder(file.absolute().parent)
    except OSError as error:
        raise disk_error(error, file.absolute().parent) or error from error
    finally:
        database.close()
        part.unlink(missing_ok=True)
    return made


def restore(settings: Settings, file: Path, tell: Tell) -> Backup:
    """Bring a home back into one that has no rows; its database is the one that this home is set to.

    Everything is compared with what was backed up; rows appear in one transaction, when all blobs are there. Raises
    Conflict while a control plane runs, for a home with rows and for a backup of another revision; RejectedContent
    for a file that is damaged or is none.
    """
    home = Home(settings.home)
    if not file.is_file():
        raise NotFound(f"There is no file {file}.", field="file")
    prepare(home)
    lock = ProgramLock(home.run, "control")
    lock.acquire()
    database = open_database(settings)
    try:
        database.migrate()
        blobs = open_blobs(settings, home, database)
        with database.session() as session:
            _require_empty(database, session)
        with _read(file) as archive:
            return _restore(home, database, blobs, archive, tell)
    except OSError as error:
        raise disk_error(error, home.root) or error from error
    finally:
        database.close()
        lock.release()


def _write(home: Home, database: Database, blobs: BlobStore, out: IO[bytes], tell: Tell) -> Backup:
    with (
        contextlib.ExitStack() as stack,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        lines: dict[str, IO[bytes]] = {}
        tables: dict[str, rows.Content] = {}
        digests: dict[str, None] = {}
        tell("reading the rows")
        with database.session() as session:  # one picture of all tables
            for table in rows.KNOWN:
                lines[table.name] = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))
                total = rows.Sum()
                for row in rows.read(session, table):
                    line = rows.encode(table, row)
                    total.add(line)
                    lines[table.name].write(line + b"\n")
                    digests.update(dict.fromkeys(_referenced(table, row)))
                tables[table.name] = total.content
        # Of an upload not all bytes need have come.
        needed = dict.fromkeys(_of_versions(lines["versions"]))
        present = [digest for digest in digests if digest in needed or blobs.has(digest)]
        sizes = {digest: blobs.size(digest) for digest in present}
        made = Backup(
            format=_FORMAT,
            version=VERSION,
            revision=REVISION,
            created=time.time(),
            database=database.shown,
            tables=tables,
            blobs=len(present),
            bytes=sum(sizes.values()),
        )
        _add(archive, _HEAD, msgspec.json.format(msgspec.json.encode(made)))
        for name in _KEPT:
            if (home.root / name).is_file():
                _add(archive, f"home/{name}", (home.root / name).read_bytes())
        for name, file in lines.items():
            size = file.tell()
            file.seek(0)
            _add_file(archive, f"rows/{name}", file, size)
        for number, digest in enumerate(present, 1):
            tell(f"blob {number} of {len(present)}")
            content = _Verified(blobs.open(digest))
            _add_file(archive, f"blobs/{digest}", content, sizes[digest])
            if content.digest != digest:
                raise RejectedContent(
                    f"The blob {digest} has changed on the disk; see: modelyard doctor --thorough"
                )
    return made


def _restore(
    home: Home, database: Database, blobs: BlobStore, archive: tarfile.TarFile, tell: Tell
) -> Backup:
    head = _head(archive)
    kept: dict[str, bytes] = {}
    by_name = {table.name: table for table in rows.KNOWN}
    came = 0
    with contextlib.ExitStack() as stack:
        lines: dict[str, IO[bytes]] = {}
        # What an upload or a version will refer to is not collected before it does.
        stack.enter_context(blobs.referring())
        while (member := archive.next()) is not None:
            folder, _, name = member.name.partition("/")
            content = archive.extractfile(member) if member.isreg() else None
            if content is None:
                raise _damaged(f"{member.name} is no file")
            if folder == "home" and name in _KEPT and member.size <= _LARGEST_TEXT:
                kept[name] = content.read()
            elif folder == "rows" and name in by_name:
                lines[name] = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))
                for chunk in _chunks(content):
                    lines[name].write(chunk)
                lines[name].seek(0)
            elif folder == "blobs":
                came += 1
                tell(f"blob {came} of {head.blobs}")
                try:
                    blobs.put(_chunks(content), sha256=name, size=member.size)
                except InvalidInput as error:
                    raise _damaged(error.message) from error
            else:
                raise _damaged(f"it holds {member.name!r}")
        if came != head.blobs or set(lines) != set(head.tables):
            raise _damaged("a part of it is missing")
        tell("writing the rows")
        with database.begin() as session:
            _require_empty(database, session)
            rows.clear_counters(session)
            id = kept.get("id", b"").decode() or None
            wanted: dict[str, rows.Content] = {}
            for table in rows.KNOWN:
                came_as, becomes = rows.Sum(), rows.Sum()
                counted = _counted(table, lines[table.name], (came_as, becomes), database, id)
                rows.write(session, table, counted)
                if came_as.content != head.tables[table.name]:
                    raise _damaged(f"the rows of {table.name} are not those that were backed up")
                wanted[table.name] = becomes.content
            rows.settle(session)
            tell("comparing")
            if wrong := rows.differences(wanted, rows.contents(session)):
                raise Internal(f"The rows that arrived are not those of the backup: {'; '.join(wrong)}.")
            _require_blobs(blobs, lines["versions"])
            for name in ("key", "id"):
                if name in kept:
                    write_whole(home.root / name, kept[name], durable=True)
            if "modelyard.toml" in kept and not home.config.exists():
                write_whole(home.config, kept["modelyard.toml"], durable=True)
                for name in ("database", "blobs"):  # they are in those that this home was set to
                    set_setting(home.config, name, None)
    return head


def _head(archive: tarfile.TarFile) -> Backup:
    first = archive.next()
    content = (
        archive.extractfile(first) if first is not None and first.name == _HEAD and first.isreg() else None
    )
    try:
        head = msgspec.json.decode(content.read(_LARGEST_TEXT) if content is not None else b"", type=Backup)
    except msgspec.DecodeError as error:
        raise _damaged("it does not begin as one") from error
    if head.format != _FORMAT or head.revision != REVISION:
        raise Conflict(
            f"This backup was made by Modelyard {head.version} (tables of revision {head.revision}, here "
            f"{REVISION}); restore it with that version, then install this one.",
            field="file",
        )
    return head


@contextlib.contextmanager
def _read(file: Path) -> Iterator[tarfile.TarFile]:
    """Raises RejectedContent for an archive that is none or ends too early."""
    try:
        with tarfile.open(file, mode="r:") as archive:
            yield archive
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(str(error)) from error


def _damaged(why: str) -> ModelyardError:
    return RejectedContent(
        f"This is no whole backup of Modelyard: {why}. Nothing was restored.", field="file"
    )


def _require_empty(database: Database, session: rows.Connection) -> None:
    if not rows.is_empty(session, rows.KNOWN):
        raise Conflict(
            f"The database {database.shown} has rows already; restore into a new home (MODELYARD_HOME), or name an "
            "empty database."
        )


def _referenced(table: Table, row: rows.Row) -> list[str]:
    if table.name not in ("versions", "uploads"):
        return []
    return [file.sha256 for file in unpack(row["manifest_json"], Manifest).files]


def _of_versions(lines: IO[bytes]) -> Iterator[str]:
    table = next(table for table in rows.KNOWN if table.name == "versions")
    end = lines.tell()
    lines.seek(0)
    for row in _rows(table, lines):
        yield from _referenced(table, row)
    lines.seek(end)


def _require_blobs(blobs: BlobStore, lines: IO[bytes]) -> None:
    lines.seek(0)
    missing = [digest for digest in dict.fromkeys(_of_versions(lines)) if not blobs.has(digest)]
    if missing:
        raise _damaged(f"{len(missing)} blobs of its versions are not in it")


def _rows(table: Table, lines: IO[bytes]) -> Iterator[rows.Row]:
    for line in lines:
        try:
            yield rows.decode(table, line)
        except (ValueError, msgspec.DecodeError) as error:
            raise _damaged(f"a row of {table.name} is none") from error


def _counted(
    table: Table, lines: IO[bytes], total: tuple[rows.Sum, rows.Sum], database: Database, id: str | None
) -> Iterator[rows.Row]:
    """The rows as they came, and as they are written: in a shared database what was a home's own is marked so."""
    for row in _rows(table, lines):
        total[0].add(rows.encode(table, row))
        changed = row
        if database.is_shared and table.name in OF_HOMES and row["home"] is None:
            changed = row | {"home": id}
        total[1].add(rows.encode(table, changed))
        yield changed


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(_CHUNK):
        yield chunk


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    _add_file(archive, name, io.BytesIO(content), len(content))


def _add_file(archive: tarfile.TarFile, name: str, content: "IO[bytes] | _Verified", size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(time.time())
    archive.addfile(member, content)  # pyright: ignore[reportArgumentType]


class _Verified:
    """Pieces as a file to be read once; ``digest`` is the SHA-256 of what was read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def read(self, size: int) -> bytes:
        gathered = bytearray(self._rest)
        while len(gathered) < size and (piece := next(self._pieces, b"")):
            gathered += piece
        read, self._rest = bytes(gathered[:size]), bytes(gathered[size:])
        self._hash.update(read)
        return read
