"""Bind, announce, serve, stop: the process around the app."""

import contextlib
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from modelyard.control.home import write_atomically
from modelyard.control.lock import HomeLock
from modelyard.core.errors import InvalidInput, Unavailable
from modelyard.core.settings import Home, Settings

_log = logging.getLogger("modelyard.control")
_GRACE = 3  # seconds that requests in flight get at the end


def check_address(settings: Settings) -> None:
    """Raise InvalidInput when the address could be reached from elsewhere without a key."""
    if not settings.authentication and not _is_loopback(settings.control_host):
        raise InvalidInput(
            f"The control plane would be open to everybody who can reach {settings.control_host}: set "
            "authentication = true (MODELYARD_AUTHENTICATION=true), or bind to 127.0.0.1.",
            field="control_host",
        )


def run(app: FastAPI, settings: Settings) -> None:
    """Serve ``app`` until SIGTERM or SIGINT.

    Raises InvalidInput for an address that is open without authentication, Conflict when the home
    has a control plane already, Unavailable when the address cannot be bound.
    """
    check_address(settings)
    home = Home(settings.home)
    lock = HomeLock(home.run / "control.lock")
    lock.acquire()
    address = home.address("control")
    try:
        with contextlib.closing(_bind(settings)) as listener:
            url = _url(*listener.getsockname()[:2])
            app.state.platform.url = url
            # The address stays behind: whoever starts it again tries for the same port.
            _Server(app, lambda: write_atomically(address, url)).run(sockets=[listener])
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
    try:
        return socket.create_server(
            (settings.control_host, settings.control_port),
            family=socket.AF_INET6 if ":" in settings.control_host else socket.AF_INET,
            backlog=512,
        )
    except OSError as error:
        raise Unavailable(
            f"The address {settings.control_host}:{settings.control_port} cannot be used: "
            f"{error.strerror}. Choose another with control_port (0 takes a free one)."
        ) from error


def _url(host: str, port: int) -> str:
    """What this machine's programs call; a wildcard address is reached over loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
