"""The node's copy of the table of routes: kept on disk, so that it serves before anybody tells it."""

import logging
import os
from pathlib import Path

import msgspec

from modelyard.core.routes import RouteTable

log = logging.getLogger("modelyard.table")


def load(path: Path) -> RouteTable:
    """The kept table; an empty one when there is none, or when it cannot be read (said in the log)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RouteTable)
    except FileNotFoundError:
        return RouteTable()
    except (OSError, msgspec.DecodeError) as error:
        log.error("the kept table of routes cannot be read", extra={"path": str(path), "error": str(error)})
        return RouteTable()


def save(path: Path, table: RouteTable) -> None:
    """Replace the kept table: whole or not at all. Raises OSError (a full disk)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(table))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
