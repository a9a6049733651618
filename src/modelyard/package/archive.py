"""Archives that somebody else made (tar, also packed by gzip, xz or bzip2; zip), unpacked as if they were hostile.

Only folders and files are made, each below the folder that is given, with no owner, no mode and no date of the
archive's; links are put into effect by ``links.py``; devices, absolute paths and paths that climb are refused, and so
are files that are there twice, or that some machines would take for one (their case, their form of Unicode).
What comes out is counted while it comes: its bytes, its files, what it is to what it came from.
"""

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, Final, NamedTuple, cast

from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.core.manifest import check_path
from modelyard.core.units import format_bytes
from modelyard.package.address import ARCHIVES
from modelyard.package.links import inside, settle
from modelyard.package.meter import disk_full, is_full
from modelyard.package.uv import Progress

_PIECE: Final = 1 << 20
_HEADER: Final = 8 << 20  # bytes that the headers of one member may take
_LINK: Final = 4096  # bytes of a link's target


class Limits(NamedTuple):
    """Bytes in all; ``names``: files, folders and links, each with the folders that it lies in. ``ratio`` to the
    archive's own size holds from ``free`` bytes on: weights hardly pack, a bomb does."""

    size: int = 1 << 41
    names: int = 1_000_000
    ratio: int = 200
    free: int = 1 << 30


LIMITS: Final = Limits()


class Member(NamedTuple):
    """``link``: where it leads, for a link; ``data``: a file's bytes; neither: a folder."""

    path: str
    data: IO[bytes] | None = None
    link: str | None = None


def is_archive(name: str) -> bool:
    """Whether a file that is called so is unpacked. A model that is a zip inside (``.pt``, ``.keras``) is not."""
    return name.lower().endswith(ARCHIVES)


def unpack(archive: Path, to: Path, *, limits: Limits = LIMITS, progress: Progress) -> Path:
    """What is in ``archive``, in the new folder ``to``. Gives its top: ``to``, or the one folder in it.

    Raises RejectedContent for what is no archive, broken, or not to be unpacked; Unavailable when the disk is
    full. What was unpacked until then stays in ``to``, which is the caller's to remove.
    """
    to.mkdir(parents=True)
    links: dict[str, str] = {}
    told = _Names()
    room = _Room(archive.stat().st_size, limits)
    try:
        for member in _members(archive, room):
            path = _checked(member.path)
            room.names(path.count("/") + 1)
            told.add(path, file=member.data is not None)
            if member.link is not None:
                links[path] = member.link
            elif member.data is not None:
                links.pop(path, None)
                _write(to / path, member.data, room)
            else:
                (to / path).mkdir(parents=True, exist_ok=True)
        settle(to, links, progress)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error, struct.error, ValueError,
            LookupError, ArithmeticError, RuntimeError, MemoryError) as error:  # fmt: skip
        raise RejectedContent(f"It is no archive that can be unpacked: {_why(error)}.") from error
    except OSError as error:
        if is_full(error):
            raise disk_full() from error
        raise RejectedContent(f"It is no archive that can be unpacked: {_why(error)}.") from error
    found = list(to.iterdir())
    return found[0] if len(found) == 1 and found[0].is_dir() else to


class _Names:
    """The names that were there so far."""

    def __init__(self) -> None:
        self._spelled: dict[str, str] = {}  # by what a machine that is not strict makes of it
        self._files: set[str] = set()

    def add(self, path: str, *, file: bool) -> None:
        """Raises RejectedContent for a file that is there twice, and for names that are one on some machines."""
        parts = path.split("/")
        for count in range(len(parts), 0, -1):
            part = "/".join(parts[:count])
            folded = unicodedata.normalize("NFKC", part).casefold()
            spelled = self._spelled.setdefault(folded, part)
            if spelled != part:
                raise RejectedContent(
                    f"The archive has {spelled[:100]!r} and {part[:100]!r}, which are one on some machines; it is not "
                    "unpacked."
                )
        if file and path in self._files:
            raise RejectedContent(f"The archive has {path[:100]!r} twice; it is not unpacked.")
        if file:
            self._files.add(path)


class _Room:
    """What was unpacked so far, held against the limits."""

    def __init__(self, packed: int, limits: Limits) -> None:
        self._limits = limits
        self._most = min(limits.size, max(limits.free, limits.ratio * packed))
        self._names = 0
        self._size = 0

    def names(self, count: int) -> None:
        self._names += count
        if self._names > self._limits.names:
            raise RejectedContent(
                f"The archive has more than {self._limits.names:,} files and folders; it is not unpacked."
            )

    def bytes(self, count: int) -> None:
        self._size += count
        if self._size > self._most:
            raise RejectedContent(
                f"The archive unpacks to more than {format_bytes(self._most)}, far more than its own size; it is not "
                "unpacked."
            )


def _checked(path: str) -> str:
    """``path`` as one of a manifest. Raises RejectedContent for one that leaves its folder."""
    if path.startswith("/"):
        raise RejectedContent(f"The archive has the absolute path {path[:100]!r}; it is not unpacked.")
    plain = "/".join(part for part in path.split("/") if part not in ("", "."))
    try:
        check_path(plain)
    except (InvalidInput, UnicodeEncodeError):
        raise RejectedContent(
            f"The archive has the path {path[:100]!r}, which is none inside a folder; it is not unpacked."
        ) from None
    return plain


def _write(place: Path, data: IO[bytes], room: _Room) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(place, flags, 0o644), "wb") as file:
        while piece := data.read(_PIECE):
            room.bytes(len(piece))
            file.write(piece)


def _members(archive: Path, room: _Room) -> Iterator[Member]:
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            yield from _of_zip(file)
        elif start[:2] == b"\x1f\x8b":
            yield from _of_tar(cast(IO[bytes], gzip.GzipFile(fileobj=file)), room)
        elif start == b"\xfd7zXZ\0":
            yield from _of_tar(lzma.open(file), room)  # noqa: SIM115
        elif start[:3] == b"BZh":
            yield from _of_tar(bz2.BZ2File(file), room)
        else:
            yield from _of_tar(file, room)


def _of_tar(packed: IO[bytes], room: _Room) -> Iterator[Member]:
    reader = _Forward(packed, room)
    with tarfile.open(fileobj=reader, mode="r:", errorlevel=1) as tar:  # pyright: ignore[reportArgumentType, reportCallIssue]
        while True:
            reader.header = _HEADER
            member = tar.next()
            if member is None:
                if reader.last.strip(b"\0"):
                    raise tarfile.ReadError("it breaks off, or is damaged, between two files")
                return
            tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  # what the library keeps of each, for looking back
            reader.header = None
            path = member.name
            if member.isdir():
                if path.strip("./"):
                    yield Member(path)
            elif member.isreg():
                yield Member(path, data=tar.extractfile(member))
            elif member.issym():
                yield Member(path, link=inside(path, member.linkname[:_LINK]))
            elif member.islnk():
                yield Member(path, link=inside("", member.linkname[:_LINK]))
            else:
                raise RejectedContent(
                    f"The archive has {path[:100]!r}, a device or a pipe; it is not unpacked."
                )


class _Forward(io.RawIOBase):
    """The bytes of a tar file, forward only: what is skipped counts as unpacked, and one member's headers cannot
    take all memory. ``header``: bytes that may still be read of them; None while a file's data are. ``last``: the
    beginning of what was read last: where a header was looked for in vain, zeros or nothing end a tar file."""

    def __init__(self, packed: IO[bytes], room: _Room) -> None:
        self._packed = packed
        self._room = room
        self._at = 0
        self.header: int | None = _HEADER
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if self.header is not None:
            if size < 0 or size > self.header:
                raise tarfile.ReadError("a header is too large")
            self.header -= size
        data = self._packed.read(size)
        self._at += len(data)
        self.last = data[:512]
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, to: int, whence: int = 0) -> int:
        if whence != 0 or to < self._at:
            raise tarfile.ReadError("its members overlap")
        while self._at < to:
            skipped = len(self._packed.read(min(_PIECE, to - self._at)))
            if not skipped:
                break  # the end: what is read next is nothing, and tarfile says so
            self._at += skipped
            self._room.bytes(skipped)
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _of_zip(file: BinaryIO) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for each in archive.infolist():
            kind = stat.S_IFMT(each.external_attr >> 16)
            if each.flag_bits & 1:
                raise RejectedContent(
                    "The archive is locked with a password; unpack it yourself and name the folder."
                )
            if each.is_dir():
                if each.filename.strip("./"):
                    yield Member(each.filename)
            elif kind == stat.S_IFLNK:
                with archive.open(each) as data:
                    target = data.read(_LINK).decode(errors="surrogateescape")
                yield Member(each.filename, link=inside(each.filename, target))
            elif kind in (0, stat.S_IFREG):
                with archive.open(each) as data:
                    yield Member(each.filename, data=data)
            else:
                raise RejectedContent(
                    f"The archive has {each.filename[:100]!r}, a device or a pipe; it is not unpacked."
                )


def _why(error: Exception) -> str:
    return (" ".join(str(error).split())[:200] or type(error).__name__).rstrip(".")
