"""What was added on this machine: from where, with which answers, into which folder; so that it can be updated."""

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec
from packaging.requirements import Requirement

from modelyard.core.addresses import shown
from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.struct import Noun
from modelyard.onboard.look import Answers
from modelyard.onboard.material import Kind

_OURS = ("model.py", "model.yaml", "requirements.txt", "test_model.py")


class Added(Noun):
    """``written``: the digests of the files that we wrote, by path; none for a model that is served as it is.
    ``answer`` is what the example was answered with when it was tried."""

    name: str
    source: str
    kind: Kind
    answers: Answers
    folder: str
    written: dict[str, str] = {}
    answer: dict[str, Any] | None = None

    def at(self, version: str | None) -> str:
        """Its source at another version; None: the newest. Raises InvalidInput for what has no versions."""
        if self.kind in ("package", "source"):
            wanted = Requirement(self.source)
            extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
            return f"{wanted.name}{extras}" + (f"=={version}" if version else "")
        if self.kind == "folder":
            raise InvalidInput(
                f"{self.name} was added from the folder {self.source}, which has no versions: change it, and add it again "
                "with --overwrite.",
                field="name",
            )
        if self.kind in ("file", "bucket"):
            if version is not None:
                raise InvalidInput(
                    f"{self.name} was added from {shown(self.source)}, which has no versions: add the address of another "
                    "one with --overwrite.",
                    field="version",
                )
            return self.source
        head, separator, tail = self.source.rpartition("@")
        plain = head if separator and re.fullmatch(r"[^/:]+", tail) and "/" in head else self.source
        return plain + (f"@{version}" if version else "")

    def check_unchanged(self) -> None:
        """Raise Conflict when somebody has changed what we wrote: an update would write over it."""
        for path, digest in self.written.items():
            place = Path(self.folder) / path
            if place.is_file() and _digest(place) != digest:
                raise Conflict(
                    f"{place} was changed since it was written. An update writes it anew: keep your change elsewhere and "
                    "say --overwrite, or deploy the folder as it is.",
                    field="name",
                )


def written(folder: Path) -> dict[str, str]:
    """The digests of what we wrote into ``folder``."""
    return {name: _digest(folder / name) for name in _OURS if (folder / name).is_file()}


def remember(added: Added, root: Path) -> None:
    """Keep it below ``root``, in place of what was known of the name."""
    place = root / "records" / f"{added.name}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(added)))
    partial.rename(place)


def recall(name: str, root: Path) -> Added:
    """What is known of ``name``. Raises NotFound."""
    try:
        return msgspec.json.decode((root / "records" / f"{name}.json").read_bytes(), type=Added)
    except (OSError, msgspec.DecodeError) as error:
        raise NotFound(
            f"{name!r} was not added here (modelyard add). Deploy new files under its name instead: modelyard deploy "
            f"FOLDER --name {name}.",
            field="name",
        ) from error


def taken_as_it_is(folder: Path, source: str, root: Path) -> dict[str, str]:
    """The digests of what we wrote into ``folder``, of which some may have been changed by hand since: what was
    changed then still counts as changed. Of a folder that nobody remembers they are the files as they are.

    Raises Conflict when it was written from another source: what is said of this one would not hold for it.
    """
    records = (root / "records").glob("*.json")
    for place in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            known = msgspec.json.decode(place.read_bytes(), type=Added)
        except (OSError, msgspec.DecodeError):
            continue
        if known.folder != str(folder.resolve()):
            continue
        if known.kind != "folder" and known.source != source:
            raise Conflict(
                f"{folder} was written from {shown(known.source)}. Write it anew (--overwrite), name another folder "
                f"(--to FOLDER), or bring it to another version: modelyard update {known.name} --version VERSION.",
                field="to",
            )
        return known.written
    return written(folder)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
