"""A program of somebody else's that serves tests: waited for until it answers, and ended whatever happens."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class ServerProgram:
    """What it prints is in ``folder``, as ``log``; ``name`` is for the sentence that says that it does not answer."""

    def __init__(self, folder: Path, name: str) -> None:
        self._log = folder / "log"
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        command: Sequence[str],
        is_ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Return once ``is_ready``; what it raises of OSError is a no. A program that ends before fails with its log."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            self._wait(is_ready)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """kill -9, of one that runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while True:
            assert self._process is not None and self._process.poll() is None, self._log.read_text()
            try:
                if is_ready():
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, f"the server of {self._name} does not answer"
            time.sleep(0.1)
