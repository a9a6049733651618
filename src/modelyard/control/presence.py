"""Says in a shared database that this home's control plane lives, and where it is reached."""

import logging
import socket
import threading
from collections.abc import Callable

from modelyard.core.errors import ModelyardError
from modelyard.store.homes import Homes

_log = logging.getLogger("modelyard.control")


class Presence:
    """Tells it several times within the silence after which a home is gone. ``urls`` gives the addresses of
    control plane and node as they are now."""

    def __init__(
        self, homes: Homes, id: str, urls: Callable[[], tuple[str | None, str | None]], *, silence: float
    ) -> None:
        self._homes = homes
        self._id = id
        self._urls = urls
        self._every = silence / 4
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def tell(self) -> None:
        """Now. Raises Unavailable."""
        self._homes.tell(self._id, socket.gethostname(), *self._urls())

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End without waiting."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.tell()
                self._failing = False
            except ModelyardError as error:
                if not self._failing and not self._stop.is_set():
                    _log.warning("the other homes are not told that this one lives: %s", error.message)
                self._failing = True
            except Exception:  # noqa: BLE001 - the edge of a thread that must not end
                if not self._stop.is_set():
                    _log.exception("telling the other homes failed; it is tried again")
            # Soon again while it does not listen yet: the others are to know where.
            self._stop.wait(self._every if self._urls()[0] is not None else min(1.0, self._every))
