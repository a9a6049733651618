"""Files that come in parts: each part is kept once it is whole and right, also through a kill of either side."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Final

from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.manifest import check_digest
from modelyard.core.names import check_name
from modelyard.store.durable import disk_error, make_folder, sync_folder

_OF: Final = "of-"
PART_SIZE: Final = 8 * 1024 * 1024  # bytes; the last part of a file has the rest


class Staging:
    """Parts of files under one folder, by the SHA-256 that the whole file is to have. Any thread may use it.

    ``<sha256>.data`` has the bytes where they belong, ``<sha256>.parts`` a byte for each part, 1 once its
    bytes are on the disk. The same file sent by two uploads is one file here, but where they are to prove that
    they have it: then it is one in each project (:meth:`of`).
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._writing: set[tuple[str, int]] = set()
        self._of: dict[str, Staging] = {}

    def of(self, project: str) -> "Staging":
        """What is on its way into one project, whose parts nobody else's file is put together of."""
        check_name(project, field="project")
        with self._lock:
            return self._of.setdefault(project, Staging(self._root / f"{_OF}{project}"))

    def all(self) -> "list[Staging]":
        """This one, and those of all projects that have something here."""
        with contextlib.suppress(FileNotFoundError):
            names = [path.name.removeprefix(_OF) for path in self._root.glob(f"{_OF}*") if path.is_dir()]
            return [self, *(self.of(name) for name in sorted(names))]
        return [self]

    def come(self, sha256: str, size: int) -> list[int]:
        """The numbers of the parts that are here, in order."""
        try:
            marks = self._marks(sha256).read_bytes()
        except FileNotFoundError:
            return []
        return [number for number in range(parts_of(size)) if marks[number : number + 1] == b"\x01"]

    @contextlib.contextmanager
    def part(self, sha256: str, size: int, number: int) -> Generator["PartWriter | None", None, None]:
        """A writer of one part; None when that part is here already.

        Raises InvalidInput for a part that the file has not got, Conflict while somebody else sends it, Unavailable
        when the disk is full: then all that has come of the file goes, for others need the room.
        """
        if not 0 <= number < parts_of(size):
            raise InvalidInput(
                f"A file of {size} bytes has the parts 0 to {parts_of(size) - 1}, of {PART_SIZE} bytes each; there "
                f"is no part {number}.",
                field="part",
            )
        with self._alone(sha256, number):
            if number in self.come(sha256, size):
                yield None
                return
            try:
                make_folder(self._root)
                # Both of one time: a file that is dropped meanwhile takes its marks with it.
                with self._lock:
                    writer = PartWriter(self._data(sha256), self._marks(sha256), size, number)
                try:
                    yield writer
                finally:
                    writer.close()
            except OSError as error:
                told = disk_error(error, self._root)
                if told is None:
                    raise
                self.drop(sha256)
                raise told from error

    def whole(self, sha256: str, size: int) -> Path:
        """The file, once all of its parts are here; it is still to be looked at whether it is that of the digest.

        Raises NotFound when nothing of it is here, Conflict while parts are missing or on their way.
        """
        come = self.come(sha256, size)
        if not come:
            raise NotFound(f"No part of the file {sha256} has come; send them first.", field="sha256")
        missing = sorted(set(range(parts_of(size))) - set(come))
        if missing:
            told = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
            raise Conflict(f"{len(missing)} parts of this file have not come: {told}.", field="sha256")
        sync_folder(self._root)
        return self._data(sha256)

    def drop(self, sha256: str) -> None:
        """Forget a file: it has become a blob, or its parts were not those of its digest."""
        with self._lock:
            self._marks(sha256).unlink(missing_ok=True)  # first: parts without marks are sent again
            self._data(sha256).unlink(missing_ok=True)

    def digests(self) -> set[str]:
        """Every file of which something is here."""
        with contextlib.suppress(FileNotFoundError):
            return {
                path.stem
                for path in self._root.iterdir()
                if path.suffix in (".data", ".parts") and not path.name.startswith(_OF)
            }
        return set()

    @contextlib.contextmanager
    def _alone(self, sha256: str, number: int) -> Generator[None, None, None]:
        key = (sha256, number)
        with self._lock:
            if key in self._writing:
                raise Conflict(
                    f"Part {number} of this file is being sent by somebody else; ask again in a moment what is "
                    "missing.",
                    field="part",
                )
            self._writing.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._writing.discard(key)

    def _data(self, sha256: str) -> Path:
        check_digest(sha256)
        return self._root / f"{sha256}.data"

    def _marks(self, sha256: str) -> Path:
        check_digest(sha256)
        return self._root / f"{sha256}.parts"


class PartWriter:
    """One part on its way, used by one thread at a time."""

    def __init__(self, data: Path, marks: Path, size: int, number: int) -> None:
        self._number = number
        self._offset = number * PART_SIZE
        self._left = min(PART_SIZE, size - self._offset)
        self._hash = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(data, flags, 0o600)
        try:
            self._marks = os.open(marks, flags, 0o600)
        except OSError:
            os.close(self._file)
            raise

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Raises InvalidInput for more bytes than the part has, OSError for a disk that is full."""
        if len(chunk) > self._left:
            raise InvalidInput("More bytes came than this part has; send it again.", field="part")
        view = memoryview(chunk)
        while len(view):
            written = os.pwrite(self._file, view, self._offset)
            self._hash.update(view[:written])
            self._offset += written
            self._left -= written
            view = view[written:]

    def commit(self, sha256: str | None = None) -> None:
        """Keep it. ``sha256`` is that of the part, where the sender told it. Raises InvalidInput when it is not
        whole or not that, OSError."""
        if self._left:
            raise InvalidInput(
                f"{self._left} bytes of this part did not come; send it again.", field="part"
            )
        if sha256 not in (None, self._hash.hexdigest()):
            raise InvalidInput(
                f"The bytes of part {self._number} have not the digest that was sent with them; they were damaged on "
                "their way. Send it again.",
                field="part",
            )
        os.fdatasync(self._file)
        os.pwrite(self._marks, b"\x01", self._number)

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._file)
        os.close(self._marks)


def parts_of(size: int) -> int:
    """How many parts a file of ``size`` bytes has; an empty one has one."""
    return max(1, -(-size // PART_SIZE))
