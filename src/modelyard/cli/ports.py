"""Is a port free, and who has it if not."""

import errno
import socket
from pathlib import Path

from modelyard.core.errors import Conflict, InvalidInput


def check_free(host: str, port: int, option: str, variable: str) -> None:
    """Raise Conflict, naming who has the port and how to choose another, unless we could listen on it."""
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                owner = _owner(port)
                raise Conflict(
                    f"Port {port} of {host} is taken by {owner}. Choose another with `{option} PORT` or "
                    f"{variable}=PORT (0 takes a free one).",
                    field=option,
                ) from error
            raise InvalidInput(
                f"Nothing can listen on {host}:{port}: {error.strerror or error}.", field=option
            ) from error


def _owner(port: int) -> str:
    """``nginx (process 812)``, or "another program" when the system does not tell us."""
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(table, port)}
    for process in Path("/proc").iterdir() if sockets else ():
        if not process.name.isdigit():
            continue
        try:
            if any(str(item.readlink()) in sockets for item in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue  # another user's process, or one that has just ended
    return "another program"


def _listening(table: str, port: int) -> list[str]:
    try:
        lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port]
