"""Addresses to listen on: never open to others without a key, and said clearly when taken."""

import ipaddress
import socket
from functools import lru_cache

from modelyard.core.errors import InvalidInput, Unavailable


def check_address(host: str, authentication: bool, *, program: str, field: str) -> None:
    """Raise InvalidInput when ``host`` could be reached from elsewhere without a key."""
    if not authentication and not is_loopback(host):
        raise InvalidInput(
            f"The {program} would be open to everybody who can reach {host}: set "
            "authentication = true (MODELYARD_AUTHENTICATION=true), or bind to 127.0.0.1.",
            field=field,
        )


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine's own address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int, *, program: str, option: str, variable: str) -> socket.socket:
    """A bound socket. Raises Unavailable, saying how to choose another port, when it is taken."""
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"The {program} cannot listen on {host}:{port} ({error.strerror or error}); choose another port "
            f"with {option} or {variable} (0 takes a free one)."
        ) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """What this machine's programs call; a wildcard address is reached over loopback."""
    bound: tuple[str, int] = listener.getsockname()[:2]
    host, port = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound[0], bound[0]), bound[1]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
