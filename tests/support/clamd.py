"""A real ClamAV daemon with signatures of the test's own: EICAR, and whatever is added later."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAM = shutil.which("clamd") or "/usr/sbin/clamd"
# EICAR's first bytes, in hexadecimal so that no scanner takes this file for it; found anywhere in a file.
EICAR = "Eicar-Test:0:*:58354f2150254041505b345c505a58353428505e2937434329377d"


class Clamd:
    """Started at ``folder``'s socket; ``address`` is what the setting ``clamav`` says."""

    def __init__(self, **options: str) -> None:
        # A socket's path is short, and the daemon gives up root for a user who must reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="clamd-", dir="/tmp"))
        self.socket = self.folder / "clamd.sock"
        self.address = f"unix:{self.socket}"
        self._database = self.folder / "signatures"
        self._database.mkdir()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.sign("eicar.ndb", EICAR)

    def sign(self, file: str, line: str) -> None:
        """Add a signature; known from the next start on."""
        (self._database / file).write_text(line + "\n")

    def start(self) -> "Clamd":
        options = {
            "LocalSocket": str(self.socket), "DatabaseDirectory": str(self._database), "Foreground": "yes",
            "User": pwd.getpwuid(os.getuid()).pw_name, "StreamMaxLength": "20M", **self._options,
        }  # fmt: skip
        config = self.folder / "clamd.conf"
        config.write_text("".join(f"{key} {value}\n" for key, value in options.items()))
        self._process = subprocess.Popen(
            [PROGRAM, "--config-file", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, "clamd has ended"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self.socket))
                connection.sendall(b"zPING\0")
                return connection.recv(16).startswith(b"PONG")
        except OSError:
            return False
