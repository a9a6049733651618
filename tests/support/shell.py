"""The command line as users run it: a process, a home and ports of its own, and nothing left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from modelyard.host import lock
from support.node import wait_until
from support.ports import free_port

PROGRAM = [sys.executable, "-P", "-m", "modelyard.cli.main"]


class Shell:
    """Runs ``modelyard`` with one home."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")
        } | {
            "MODELYARD_HOME": str(home),
            # Not any: while a killed program is away, nobody else is given its port.
            "MODELYARD_CONTROL_PORT": str(free_port()),
            "MODELYARD_NODE_PORT": str(free_port()),
            "MODELYARD_GRPC_PORT": str(free_port()),
            "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
            **settings,
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            env=self.environment,
            text=True,
            # Where the tests themselves run in the background, a shell has made them deaf to Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            **(pipes | options),
        )

    def run(
        self, *arguments: str, text: str | None = None, timeout: float = 150
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=self.environment,
            text=True,
            input=text,
            capture_output=True,
            timeout=timeout,
        )

    def json(self, *arguments: str) -> Any:
        """The JSON that a command that must succeed prints."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def holder(self, program: str) -> int | None:
        """The process of ``program`` that runs now; None between two of them."""
        return lock.holder(self.home / "run", program)

    def pid(self, program: str) -> int:
        """The process of ``program``, waited for while one follows another."""
        return wait_until(lambda: self.holder(program), what=f"a running {program}")

    def kill(self, *programs: str) -> list[int]:
        """kill -9, all before any of them is waited for: none sees another one's end and lives on."""
        pids = [self.pid(program) for program in programs]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for program, pid in zip(programs, pids, strict=True):
            wait_until(lambda name=program, old=pid: self.holder(name) != old, what=f"the end of {program}")
        return pids

    def kill_all(self) -> None:
        """End whatever a failed test may have left, the supervisor first.

        By who holds the lock: the id in a lock that nobody holds may be another process's by now.
        """
        for program in ("supervisor", "control", "node"):
            if (pid := self.holder(program)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
