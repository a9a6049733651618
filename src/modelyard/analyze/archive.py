"""Reads members of a zip inside bounds, and refuses what two readers of zips could read differently."""

import lzma
import struct
import zipfile
import zlib
from typing import Final

from modelyard.analyze.window import Window
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.units import format_bytes
from modelyard.host.seekable import Seekable

MAX_DIRECTORY: Final = 8 * 1024 * 1024
MAX_EXPANDED: Final = 1024**3
_ERRORS: Final = (
    zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError, EOFError, RuntimeError,
    zlib.error, lzma.LZMAError, OverflowError, KeyError, IndexError, TypeError,
)  # fmt: skip
_END, _LOCATOR, _END64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"


class Archive:
    """One zip. ``what`` is what it should be ("a skops file"), ``again`` how to save it anew, for the sentences.

    Raises RejectedContent for a directory that cannot be read, members that are there twice or would lie outside,
    and a zip that expands out of proportion.
    """

    def __init__(self, files: Files, path: str, what: str, again: str) -> None:
        self.path = path
        self._what, self._again = what, again
        self._window = Window(files, path)
        try:
            self._zip = zipfile.ZipFile(Seekable(self._window, MAX_DIRECTORY))
            members = self._zip.infolist()
        except _ERRORS as error:
            raise self.corrupt(f"its zip directory cannot be read ({error})") from error
        self.sizes: dict[str, int] = {}  # bytes of each member, expanded
        stored = 0
        for member in members:
            name = member.filename
            if name in self.sizes:
                raise self.corrupt(f"it has two members named {name[:100]!r}")
            if name.startswith("/") or "\\" in name or ".." in name.split("/") or ":" in name[:2]:
                raise self.corrupt(f"its member {name[:100]!r} would lie outside of the file")
            self.sizes[name] = member.file_size
            stored += member.compress_size
        expanded = sum(self.sizes.values())
        if expanded > MAX_EXPANDED and expanded > 100 * max(stored, 1):
            raise self.corrupt(f"it would expand from {format_bytes(stored)} to {format_bytes(expanded)}")

    def read(self, name: str, limit: int, *, exact: bool = True) -> bytes:
        """The member's bytes, at most ``limit``; with ``exact`` a longer one is refused."""
        try:
            with self._zip.open(name) as file:
                data = file.read(limit + 1 if exact else limit)
        except _ERRORS as error:
            raise self.corrupt(f"its member {name[:100]!r} cannot be read ({error})") from error
        if exact and len(data) > limit:
            raise self.corrupt(f"its member {name[:100]!r} is over {format_bytes(limit)}")
        return data

    def require_one_reading(self, *, folder: bool = True) -> None:
        """Refuse what PyTorch's reader (miniz) could take for something else than Python's does.

        That one ignores case, goes to the directory by its offset, and takes the first member's folder for that of
        all; without a ``folder`` none may be there, and PyTorch's reader takes nothing. Raises RejectedContent.
        """
        folders = {name.split("/", 1)[0] for name in self.sizes if "/" in name}
        if len({name.lower() for name in self.sizes}) != len(self.sizes):
            raise self.corrupt("two of its members differ in case alone")
        if folder and (len(folders) != 1 or not all("/" in name for name in self.sizes)):
            raise self.corrupt("its members do not lie in one folder")
        if folders and not folder:
            raise self.corrupt("it is of the form before PyTorch 2.8, with folders inside")
        size = self._window.size
        end = self._window.read(max(size - 22, 0), min(22, size))
        if end[:4] != _END:
            raise self.corrupt("it is truncated, or something lies behind its directory")
        length, offset = struct.unpack_from("<II", end, 12)
        behind = 22
        if size >= 42 and self._window.read(size - 42, 4) == _LOCATOR:
            (place,) = struct.unpack("<Q", self._window.read(size - 34, 8))
            if place != size - 98 or self._window.read(place, 4) != _END64:
                raise self.corrupt("its directory is not where it says")
            length, offset = struct.unpack("<QQ", self._window.read(place + 40, 16))
            behind = 98
        if offset + length + behind != size:
            raise self.corrupt("its directory is not where it says")

    def corrupt(self, why: str) -> RejectedContent:
        """The error for content that is not the format."""
        return RejectedContent(
            f"{self.path} is not {self._what}, or it is corrupt: {why}. {self._again}.", field=self.path
        )
