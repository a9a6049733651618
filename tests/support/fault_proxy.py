"""A proxy in front of a server of S3 that answers 500, is slow, or drops connections, as often as it is told to."""

import random
import socket
import threading
import time
from contextlib import suppress

from support.ports import free_port

_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultProxy:
    """A context manager. ``fail``, ``drop`` and ``slow`` are parts of the requests (0 to 1): one that fails is answered
    500; one that drops ends its connection after some bytes of it or of its answer; one that is slow waits."""

    def __init__(self, target: int, *, seed: int = 0) -> None:
        self.port = free_port()
        self.fail = self.drop = self.slow = 0.0
        self.counts = {"fail": 0, "drop": 0, "slow": 0, "right": 0}
        self._target = target
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._open = set[socket.socket]()
        self._thread = threading.Thread(target=self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        return self

    def __exit__(self, *stopped: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def heal(self) -> None:
        self.fail = self.drop = self.slow = 0.0

    def draw(self) -> tuple[str, int]:
        """What happens to the next request, and after how many bytes."""
        with self._lock:
            drawn = self._random.random()
            bounds = {
                "fail": self.fail,
                "drop": self.fail + self.drop,
                "slow": self.fail + self.drop + self.slow,
            }
            what = next((name for name, bound in bounds.items() if drawn < bound), "right")
            self.counts[what] += 1
            return what, self._random.randrange(1, 400_000)

    def _accept(self) -> None:
        threads: list[threading.Thread] = []
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=self._serve, args=(client,)))
            threads[-1].start()
        for each in threads:
            each.join()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=_pump, args=(server, client))
            back.start()
            try:
                self._requests(client, server)
            finally:
                _cut(client, server)
                back.join()
                with self._lock:
                    self._open -= {client, server}

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        left: int | None = None
        while data := client.recv(65536):
            # The clients of the tests send no request before the answer to the one before it.
            if data.startswith((b"PUT /", b"GET /", b"HEAD /", b"POST /", b"DELETE /")):
                what, limit = self.draw()
                if what == "fail":
                    client.sendall(_500)
                    return
                if what == "slow":
                    time.sleep(0.2)
                left = limit if what == "drop" else None
            if left is not None and left < len(data):
                server.sendall(data[:left])
                return
            server.sendall(data)
            left = None if left is None else left - len(data)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _cut(source, sink)


def _cut(*ends: socket.socket) -> None:
    for each in ends:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
