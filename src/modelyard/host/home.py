"""The folders and the keys of a home, made when they are missing."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from modelyard.core.errors import Unavailable
from modelyard.core.settings import Home


def prepare(home: Home) -> None:
    """Create what is not there yet: folders of mode 0700, keys of mode 0600. Safe to run twice at once.

    Raises Unavailable when the place cannot be written.
    """
    try:
        for folder in (home.root, home.run, home.logs, home.blobs, home.versions, home.environments):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_key(home.key, "my_")
        _make_key(home.node_key, "")
        _make_key(home.id, "", 12)
    except OSError as error:
        raise Unavailable(
            f"The home {home.root} cannot be prepared: {error.strerror or error}; set MODELYARD_HOME to a "
            "folder that you may write."
        ) from error


def read_key(path: Path) -> str:
    """A key of the home. Raises Unavailable when there is none that can be used."""
    try:
        key = path.read_text().strip()
    except OSError as error:
        raise Unavailable(f"{path} cannot be read ({error.strerror}); run: modelyard up") from error
    if len(key) < 16:
        raise Unavailable(f"{path} holds no usable key; remove it and run: modelyard up")
    return key


def _make_key(path: Path, prefix: str, size: int = 0) -> None:
    """Write a new key unless there is one (with ``size``: so many random bytes in hex, for names). It appears
    whole: linked into place, never over another."""
    if path.exists():
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".key.")  # mkstemp makes it 0600
    try:
        made = secrets.token_hex(size) if size else prefix + secrets.token_urlsafe(32)
        os.write(descriptor, made.encode())
        os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.close(descriptor)
        Path(name).unlink()
