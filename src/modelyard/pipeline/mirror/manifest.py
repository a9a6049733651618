"""What a mirror says of one entry's files, read as if anybody could have written it."""

from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

import msgspec

from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.core.names import check_name
from modelyard.core.struct import Noun
from modelyard.package.uv import Progress

LARGEST: Final = 64 << 20  # bytes of a manifest
MARK: Final = "modelyard-mirror.json"
MARK_BYTES: Final = b'{"modelyard_mirror": 1}\n'


class EntryManifest(Noun):
    """``source`` is the catalog's word on where they come from, ``revision`` the commit or digest that it was
    then; ``files`` are sorted by path."""

    name: str
    files: tuple[FileEntry, ...]
    source: dict[str, Any] = {}
    revision: str | None = None
    modelyard_mirror: Literal[1] = 1

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


class _Mark(Noun):
    modelyard_mirror: int


class Place(Protocol):
    """Where a mirror lies. What it raises: Unavailable when it cannot be reached or is full, Forbidden when it is
    not given to us."""

    address: str

    def mark(self) -> bytes | None:
        """What says that a mirror is here; None where nothing does."""
        ...

    def manifest(self, name: str) -> bytes | None:
        """What it says of an entry; None where it has not got it."""
        ...

    def get(self, name: str, file: FileEntry, to: Path, progress: Progress) -> None:
        """One file to the path ``to``, gone on with where it was broken off. Raises RejectedContent for one that
        is not as its manifest says, or not there."""
        ...


@runtime_checkable
class WritablePlace(Place, Protocol):
    """One that can be filled. ``staging``: where on this machine files may wait, when it is of one disk with it."""

    @property
    def staging(self) -> Path | None: ...

    def begin(self, manifest: EntryManifest) -> None:
        """Another manifest of this entry, if there is one, holds no more once its files are replaced."""
        ...

    def put(self, name: str, file: FileEntry, source: Path, progress: Progress) -> None:
        """One file; nothing is done for one that is there."""
        ...

    def commit(self, manifest: EntryManifest) -> None:
        """From now on the entry is this."""
        ...


def encode(manifest: EntryManifest) -> bytes:
    """As it stands in a mirror."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(data: bytes, name: str, address: str) -> EntryManifest:
    """The manifest of ``name``. Raises RejectedContent for what is none, or another entry's."""
    try:
        manifest = msgspec.json.decode(data, type=EntryManifest)
        files = manifest_of(list(manifest.files)).files
        if check_name(manifest.name) != name:
            raise InvalidInput(f"it is of {manifest.name!r}")
    except (msgspec.DecodeError, InvalidInput, RecursionError, UnicodeError) as error:
        raise RejectedContent(
            f"What the mirror {address} says of {name} makes no sense: {error}"
        ) from error
    return msgspec.structs.replace(manifest, files=files)


def is_mark(data: bytes) -> bool:
    """Whether it says that a mirror is here, of a kind that we know."""
    try:
        return msgspec.json.decode(data, type=_Mark).modelyard_mirror == 1
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False


def manifest_name(name: str) -> str:
    """What the manifest of an entry is called."""
    return f"{name}.manifest.json"
