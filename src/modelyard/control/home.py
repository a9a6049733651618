"""The folders and the keys of a home, made when they are missing."""

import contextlib
import os
import secrets
from pathlib import Path

from modelyard.core.settings import Home


def prepare(home: Home) -> None:
    """Make the folders of ``home``, for this user alone."""
    for folder in (home.root, home.run, home.logs, home.blobs, home.versions, home.environments):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def ensure_key(path: Path) -> str:
    """The key in ``path``; a new one when there is none. Whole or not there, readable by us alone.

    Safe when several processes start at once: the first link wins, and all read the same key.
    """
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path.read_text().strip()


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
