"""The node's copy of the table of routes: kept on disk, so that it serves before anybody tells it."""

import logging
from pathlib import Path

import msgspec

from modelyard.core.routes import RouteTable
from modelyard.host.files import write_whole

log = logging.getLogger("modelyard.table")


def load(path: Path) -> RouteTable:
    """The kept table; an empty one when there is none, or when it cannot be read (said in the log)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RouteTable)
    except FileNotFoundError:
        return RouteTable()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.error("the kept table of routes cannot be read", extra={"path": str(path), "error": str(error)})
        return RouteTable()


def save(path: Path, table: RouteTable) -> None:
    """Replace the kept table: whole or not at all. Raises OSError (a full disk)."""
    write_whole(path, msgspec.json.encode(table), durable=True)
