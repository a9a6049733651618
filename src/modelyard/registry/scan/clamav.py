"""ClamAV's daemon, spoken to over its socket: files go there as streams (INSTREAM), none is left anywhere.

Protocol: clamd(8). Answers are ``stream: OK``, ``stream: NAME FOUND`` and ``… ERROR``.
"""

import socket
from collections.abc import Callable
from typing import Final

from modelyard.core.errors import Unavailable
from modelyard.core.scan import Finding

SCANNER: Final = "clamav"
_PIECE: Final = 1024 * 1024
_PATIENCE: Final = 300.0  # seconds for an answer
_CONNECT: Final = 5.0


class ClamAV:
    """One daemon; ``address`` is ``unix:/path`` or ``tcp:host:port``. A connection is made for each question."""

    def __init__(self, address: str) -> None:
        self.address = address

    def version(self) -> str:
        """The engine with its signatures, as ``ClamAV 1.4.3/27500/…``: another one may find what this one does not.
        Raises Unavailable."""
        told = self._ask(b"zVERSION\0", None)
        if not told.startswith("ClamAV"):
            raise self._away(f"it says {told[:80]!r}")
        return told[:128]

    def look(self, size: int, read: Callable[[int, int], bytes]) -> tuple[Finding, ...]:
        """What it finds in a file; a file that it does not take whole is *unreadable*. Raises Unavailable."""
        told = self._ask(
            b"zINSTREAM\0",
            lambda: ((at, read(at, min(_PIECE, size - at))) for at in range(0, size, _PIECE)),
        )
        if told.endswith(" FOUND"):
            name = told.removeprefix("stream: ").removesuffix(" FOUND")[:200]
            return (Finding(level="malicious", what=f"ClamAV calls it {name}", reaches=name),)
        if told.endswith("OK"):
            return ()
        if "size limit" in told:
            return (
                Finding(
                    level="unreadable", what="ClamAV does not take a file of this size (StreamMaxLength)"
                ),
            )
        raise self._away(f"it says {told[:120]!r}")

    def _ask(self, command: bytes, pieces: "Callable[[], object] | None") -> str:
        try:
            with self._connected() as connection:
                connection.sendall(command)
                cut = False
                if pieces is not None:
                    try:
                        for _, piece in pieces():  # type: ignore[attr-defined]
                            connection.sendall(len(piece).to_bytes(4, "big") + piece)
                        connection.sendall(bytes(4))
                    except (BrokenPipeError, ConnectionResetError):
                        cut = True  # it may have answered before it closed
                answer = b""
                try:
                    while piece := connection.recv(4096):
                        answer += piece
                except ConnectionResetError:
                    cut = True
                if not answer and cut and pieces is not None:
                    return "INSTREAM size limit exceeded. ERROR"
        except OSError as error:
            raise self._away(str(error)) from error
        if not answer:
            raise self._away("it closed the connection")
        return answer.rstrip(b"\0\n").decode("utf-8", "replace")

    def _connected(self) -> socket.socket:
        kind, _, place = self.address.partition(":")
        connection = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
        try:
            connection.settimeout(_CONNECT)
            if kind == "unix":
                connection.connect(place)
            else:
                connection.close()
                host, _, port = place.rpartition(":")
                connection = socket.create_connection((host, int(port)), _CONNECT)
            connection.settimeout(_PATIENCE)
        except OSError:
            connection.close()
            raise
        return connection

    def _away(self, why: str) -> Unavailable:
        return Unavailable(
            f"ClamAV does not answer at {self.address} ({why}); start it (systemctl start clamav-daemon), or change the "
            "setting clamav.",
            retry_after=5.0,
        )
