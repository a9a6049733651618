"""Ports for servers that are told theirs before they listen."""

import itertools
import os
import socket

# Each process of the tests begins at its own place, far from those that were started beside it.
_NUMBERS = itertools.count(os.getpid() * 1999)


def free_port() -> int:
    """A port of loopback at which nobody listens.

    Below the range from which the system gives ports: nobody gets it by chance before it is used, nor
    while its server is down for a while.
    """
    while True:
        port = 20000 + next(_NUMBERS) % 12000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
