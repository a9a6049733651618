"""A real Redis of the test's own, which can be stopped, stalled, filled and started again."""

import contextlib
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from support.node import wait_until
from support.ports import free_port


class RedisProcess:
    """A ``redis-server`` on a free port; a context manager that leaves no process behind."""

    def __init__(self, folder: Path, *options: str, tls: bool = False) -> None:
        assert shutil.which("redis-server"), "redis-server is missing: make .setup/system installs it"
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.options = options
        self.tls = tls
        self.port = free_port()
        self.socket = folder / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis{'s' if self.tls else ''}://localhost:{self.port}"

    def __enter__(self) -> "RedisProcess":
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> "RedisProcess":
        port = ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", *port, "--unixsocket", str(self.socket), "--bind", "127.0.0.1",
                 "--save", "", "--dir", str(self.folder), *self.options],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self._listens, what="Redis listening")
        return self

    def _listens(self) -> bool:
        assert self.process is not None and self.process.poll() is None
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            return True
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stall(self) -> None:
        """It takes connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def do(self, *command: str | bytes) -> bytes:
        """One command over the socket in the file system; the first 64 KiB of the reply as they come."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.socket))
            parts = [part.encode() if isinstance(part, str) else part for part in command]
            head = b"*%d\r\n" % len(parts)
            connection.sendall(head + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
            return connection.recv(65536)

    def keys(self) -> list[bytes]:
        return [line for line in self.do("KEYS", "*").split(b"\r\n") if line.startswith(b"modelyard:")]
