"""A mirror in a folder. An entry's folder is built aside and renamed: it is whole or not there."""

import contextlib
import os
import shutil
from pathlib import Path

from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.core.manifest import FileEntry
from modelyard.host.files import digest_file, write_whole
from modelyard.package.meter import check_room, disk_full, is_full
from modelyard.package.uv import Progress
from modelyard.pipeline.mirror.manifest import (
    LARGEST,
    MARK,
    MARK_BYTES,
    EntryManifest,
    encode,
    manifest_name,
)
from modelyard.store.files import FolderFiles

WORK = ".preparing"  # in the folder: what is on its way


class FolderPlace:
    """``root`` need not be there before something is put."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.address = str(self.root)

    @property
    def staging(self) -> Path:
        return self.root / WORK / "fetched"

    def mark(self) -> bytes | None:
        return _read(self.root / MARK)

    def manifest(self, name: str) -> bytes | None:
        return _read(self.root / manifest_name(name))

    def get(self, name: str, file: FileEntry, to: Path, progress: Progress) -> None:
        source = self.root / name / file.path
        if not is_whole(source, file):
            raise RejectedContent(
                f"{source} is not what the mirror says of it (size and checksum); make it anew: modelyard catalog fetch "
                f"{name} --to {self.root}"
            )
        _place(source, to)

    def check(self, manifest: EntryManifest) -> None:
        """Raises RejectedContent unless every file is as its manifest says, and no other is there."""
        folder = self.root / manifest.name
        wanted = {file.path for file in manifest.files}
        try:
            there = set(FolderFiles(folder).paths)
        except InvalidInput as error:
            raise RejectedContent(error.message) from error
        wrong = sorted(wanted ^ there) or [
            file.path for file in manifest.files if not is_whole(folder / file.path, file)
        ]
        if wrong:
            raise RejectedContent(
                f"{folder} is not what its manifest says, beginning with {wrong[0]!r}. Make it anew (remove it, then: "
                f"modelyard catalog fetch {manifest.name} --to {self.root}), or remove the manifest beside it if you "
                "changed the files yourself."
            )

    def begin(self, manifest: EntryManifest) -> None:
        check_room(self.root, 0)

    def put(self, name: str, file: FileEntry, source: Path, progress: Progress) -> None:
        to = self._coming(name) / file.path
        if not is_whole(to, file):
            _place(source, to, linked=source.is_relative_to(self.root))

    def coming(self, name: str, file: FileEntry) -> Path | None:
        """Where a file of an entry is to be put; None when it is there."""
        to = self._coming(name) / file.path
        return None if is_whole(to, file) else to

    def commit(self, manifest: EntryManifest) -> None:
        if not (self.root / MARK).is_file():
            write_whole(self.root / MARK, MARK_BYTES)
        coming, place = self._coming(manifest.name), self.root / manifest.name
        former = self.root / WORK / "former" / manifest.name
        stated = self.root / manifest_name(manifest.name)
        wanted = {file.path for file in manifest.files}
        for path in [path for path in coming.rglob("*") if path.is_file()]:
            if path.relative_to(coming).as_posix() not in wanted:
                path.unlink()  # of a run before, of another version
        shutil.rmtree(former, ignore_errors=True)
        if place.exists():
            former.parent.mkdir(parents=True, exist_ok=True)
            stated.unlink(missing_ok=True)
            place.rename(former)
        coming.rename(place)
        write_whole(stated, encode(manifest), durable=True)
        shutil.rmtree(former, ignore_errors=True)

    def state(self, manifest: EntryManifest) -> None:
        """The manifest of a folder that is there already."""
        if not (self.root / MARK).is_file():
            write_whole(self.root / MARK, MARK_BYTES)
        write_whole(self.root / manifest_name(manifest.name), encode(manifest), durable=True)

    def _coming(self, name: str) -> Path:
        return self.root / WORK / "coming" / name


def is_whole(path: Path, file: FileEntry) -> bool:
    """Whether the file at ``path`` is the one that a manifest tells of: size, then SHA-256."""
    try:
        return path.stat().st_size == file.size and digest_file(path) == file.sha256
    except OSError:
        return False


def _place(source: Path, to: Path, *, linked: bool = False) -> None:
    """A copy of a file; with ``linked`` a second name for it, where the disk allows that. Raises Unavailable when
    the disk is full."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.unlink(missing_ok=True)
    try:
        if linked:
            with contextlib.suppress(OSError):
                os.link(source.resolve(), to)
                return
        check_room(to.parent, source.stat().st_size)
        shutil.copyfile(source, to)
    except OSError as error:
        to.unlink(missing_ok=True)
        if is_full(error):
            raise disk_full() from error
        raise


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except FileNotFoundError:
        return None
