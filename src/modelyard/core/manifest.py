"""The immutable list of files that makes a version, and the digest that is its identity."""

import hashlib
import unicodedata

import msgspec

from modelyard.core.errors import InvalidInput
from modelyard.core.struct import Noun


class FileEntry(Noun):
    """One file of a version: relative POSIX path, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


class Manifest(Noun):
    """The files of a version, sorted by path."""

    files: tuple[FileEntry, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the canonical JSON of the files: the identity of a version."""
        return hashlib.sha256(msgspec.json.encode(self.files)).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def manifest_of(files: list[FileEntry]) -> Manifest:
    """Check and sort ``files``.

    Raises InvalidInput for an empty list, a path that leaves its folder, two files of one path
    (also when they differ only in case or Unicode form), and a digest that is not SHA-256.
    """
    if not files:
        raise InvalidInput("There is no file in this upload; send at least one.", field="files")
    seen: dict[str, str] = {}
    for index, file in enumerate(files):
        check_path(file.path, field=f"files[{index}].path")
        folded = unicodedata.normalize("NFC", file.path).casefold()
        if folded in seen:
            raise InvalidInput(
                f"The paths {seen[folded]!r} and {file.path!r} would be one file on some machines; "
                "rename one of them.",
                field=f"files[{index}].path",
            )
        seen[folded] = file.path
        check_digest(file.sha256, field=f"files[{index}].sha256")
        if file.size < 0:
            raise InvalidInput("A file's size cannot be negative.", field=f"files[{index}].size")
    return Manifest(files=tuple(sorted(files, key=lambda file: file.path)))


def check_digest(digest: str, *, field: str = "sha256") -> None:
    """Raise InvalidInput unless ``digest`` is 64 lower-case hexadecimal digits."""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise InvalidInput("A digest is 64 lower-case hexadecimal digits (SHA-256).", field=field)


def check_path(path: str, *, field: str = "path") -> None:
    """Raise InvalidInput unless ``path`` is a plain relative POSIX path that stays in its folder."""
    parts = path.split("/")
    if (
        not path
        or len(path) > 1024
        or "\\" in path
        or any(ord(character) < 32 for character in path)
        or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts)
        or (len(parts[0]) == 2 and parts[0][1] == ":")
    ):
        raise InvalidInput(
            f"{path[:100]!r} is not a path inside the model's folder; use relative paths with '/', "
            "without '..', control characters or empty parts.",
            field=field,
        )
