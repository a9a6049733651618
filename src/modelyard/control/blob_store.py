"""Where a home's blobs lie: on its disk, or in the bucket that its settings name; one place for all who share its rows."""

from pathlib import Path
from typing import Final

from modelyard.core.errors import Conflict
from modelyard.core.settings import Home, Settings
from modelyard.store import whereabouts
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces

DISK: Final = "disk"


def open_blobs(
    settings: Settings, home: Home, database: Database, pieces: Pieces | None = None
) -> BlobStore:
    """The blobs of a home, or of the bucket that its settings name. The database has been migrated.

    Raises InvalidInput for a bucket that cannot be, Conflict for another place than the one where they lie already, or
    while they are on their way to another one.
    """
    if (to := moving_to(home)) is not None:
        raise Conflict(
            f"The blobs of {home.root} are on their way to {to}, and the last step of it was cut off; end it: "
            f"modelyard migrate --blobs {to}",
            field="blobs",
        )
    note = bucket_note(home)
    there = note.read_text().strip() if note.is_file() else None
    wanted = None if settings.blobs is None else settings.blobs.rstrip("/")
    if there is not None and wanted != there:
        raise Conflict(
            f"The blobs of {home.root} lie in {there}, and the setting blobs says {wanted or 'nothing'}; set it to "
            f"{there} again, move them (modelyard migrate --blobs), or choose another home.",
            field="blobs",
        )
    bucket = None if wanted is None else open_bucket(wanted)
    if there is None and wanted is not None and any((home.blobs / "objects").glob("??/*")):
        raise Conflict(
            f"The blobs of {home.root} lie on its disk, and the setting blobs names {wanted}. Take the setting away; "
            f"then move them: modelyard migrate --blobs {wanted}",
            field="blobs",
        )
    if database.is_shared:
        whereabouts.require(database, wanted or whereabouts.folder_of(home.blobs))
    if there is None and wanted is not None:
        home.blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.write_text(f"{wanted}\n")
    return BlobStore(home.blobs, pieces or Pieces(database), bucket)


def bucket_note(home: Home) -> Path:
    """The file that says in which bucket they are; not there for those on the disk."""
    return home.blobs / "bucket"


def moving(home: Home) -> Path:
    """The folder of what is on its way to another place."""
    return home.blobs / "moving"


def moving_to(home: Home) -> str | None:
    """Where the blobs go whose move has begun to be true; None before and after that."""
    note = moving(home) / "to"
    return note.read_text().strip() if note.is_file() else None
