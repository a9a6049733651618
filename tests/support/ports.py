"""Ports for servers that are told theirs before they listen."""

import itertools
import os
import socket
from collections import deque

# Each process of the tests begins at its own place, far from those that were started beside it.
_NUMBERS = itertools.count(os.getpid() * 1999)
_HELD: deque[int] = deque()  # UDP sockets: the port of a test is its own, whoever else looks for one
_MOST = 128


def free_port() -> int:
    """A port of loopback at which nobody listens, and which no other test is given.

    Below the range from which the system gives ports: nobody gets it by chance before it is used, nor
    while its server is down for a while. The same number of UDP, which nobody here speaks, is held by this
    process as the sign that it is taken: a server that is not up yet does not show in TCP.
    """
    while True:
        port = 20000 + next(_NUMBERS) % 12000
        with (
            socket.socket(type=socket.SOCK_DGRAM) as sign,
            socket.socket() as probe,
        ):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sign.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _HELD.append(sign.detach())
        if len(_HELD) > _MOST:
            os.close(_HELD.popleft())
        return port
