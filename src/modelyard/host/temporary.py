"""Folders that are gone afterwards, whatever happened."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A new folder for this user alone, where temporary files are kept. Raises OSError when it cannot be made."""
    # Its name is known before it is made: Ctrl-C between the two would leave a folder that nobody knows of.
    place = Path(tempfile.gettempdir()) / f"{prefix}{secrets.token_hex(8)}"
    try:
        place.mkdir(0o700)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
