"""Bind, announce, serve, stop: the process around the app."""

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from modelyard.core.settings import Home, Settings
from modelyard.host.files import write_whole
from modelyard.host.lock import ProgramLock
from modelyard.host.network import bind, check_address, url_of

_log = logging.getLogger("modelyard.control")
_GRACE = 3  # seconds that requests in flight get at the end


def check(settings: Settings) -> None:
    """Raise InvalidInput when the address could be reached from elsewhere without a key."""
    check_address(
        settings.control_host, settings.authentication, program="control plane", field="control_host"
    )


def run(app: FastAPI, settings: Settings) -> None:
    """Serve ``app`` until SIGTERM or SIGINT.

    Raises InvalidInput for an address that is open without authentication, Conflict when the home
    has a control plane already, Unavailable when the address cannot be bound.
    """
    check(settings)
    home = Home(settings.home)
    lock = ProgramLock(home.run, "control")
    lock.acquire()
    address = home.address("control")
    try:
        with contextlib.closing(_bind(settings)) as listener:
            url = url_of(listener)
            app.state.platform.url = url
            # The address stays behind: whoever starts it again tries for the same port.
            _Server(app, lambda: write_whole(address, url.encode())).run(sockets=[listener])
    finally:
        lock.release()


class _Server(uvicorn.Server):
    """Announces the address once it listens, and ends open streams when it is told to stop."""

    def __init__(self, app: FastAPI, announce: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE,
                timeout_keep_alive=30,
            )
        )
        self._app = app
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()
            _log.info("the control plane listens", extra={"url": self._app.state.platform.url})

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not uvicorn's own, which raises the signal again at the end and so skips our cleaning up.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        # From a thread of its own: a signal handler may have interrupted who holds the hub's lock.
        threading.Thread(target=self._app.state.platform.hub.close, daemon=True).start()


def _bind(settings: Settings) -> socket.socket:
    return bind(
        settings.control_host,
        settings.control_port,
        program="control plane",
        option="--port",
        variable="MODELYARD_CONTROL_PORT",
    )
