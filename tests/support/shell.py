"""The command line as users run it: a process, a home of its own, any free ports, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-P", "-m", "modelyard.cli.main"]


class Shell:
    """Runs ``modelyard`` with one home."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")
        } | {
            "MODELYARD_HOME": str(home),
            "MODELYARD_CONTROL_PORT": "0",
            "MODELYARD_NODE_PORT": "0",
            "MODELYARD_GRPC_PORT": "0",
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
        self, *arguments: str, text: str | None = None, timeout: float = 120
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

    def pid(self, program: str) -> int:
        return int((self.home / "run" / f"{program}.lock").read_text())

    def kill_all(self) -> None:
        """End whatever a failed test may have left, the supervisor first."""
        for program in ("supervisor", "control", "node"):
            try:
                os.kill(self.pid(program), signal.SIGKILL)
            except (OSError, ValueError):
                continue
