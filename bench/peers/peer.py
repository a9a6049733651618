"""A server that somebody else wrote: how it is installed, started, and stopped again."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.cores import SERVER_CORE, on

CACHE = Path(__file__).parents[2] / ".cache" / "bench"
PROGRAMS = Path(__file__).parent / "programs"
# No server outlives this, whatever becomes of the bench.
LONGEST = 3600


class NotStarted(RuntimeError):
    """A server did not answer in time, or ended; the text ends with what it wrote last."""


@dataclass(frozen=True)
class Running:
    """A server that answers: ``http`` its base URL, ``grpc`` its authority (None: it speaks none)."""

    http: str
    grpc: str | None
    pid: int


@dataclass(frozen=True)
class Peer:
    """``speaks`` of json, binary and grpc; ``apart`` whether the model has a process of its own.

    ``path`` is where JSON goes, with the task's name in it; ``body`` how it is framed there: v2, data
    ({"data": rows}) or openai ({"input": texts}). ``variables`` are set in its environment.
    """

    name: str
    title: str
    program: str
    requirements: tuple[str, ...]
    speaks: tuple[str, ...] = ("json",)
    apart: bool = True
    path: str = "/v2/models/{task}/infer"
    body: str = "v2"
    options: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    environment: str | None = None  # of another peer with the same requirements
    installer: str = "uv"  # or pip, which finds a CPU build of PyTorch kept on this machine

    def folder(self) -> Path:
        return CACHE / (self.environment or self.name)

    def install(self) -> Path:
        """The Python of its own environment, made when it is not there yet (by uv, at a low priority)."""
        folder = self.folder()
        python = folder / "bin" / "python"
        stamp = folder / "installed"
        wanted = "\n".join(self.requirements)
        if stamp.is_file() and stamp.read_text() == wanted:
            return python
        print(f"installing {self.title} ...", file=sys.stderr, flush=True)
        uv = str(Path(sys.executable).with_name("uv"))
        quiet = ["nice", "-n", "10", uv, "--quiet"]
        subprocess.run([*quiet, "venv", "--clear", "--python", sys.executable, str(folder)], check=True)
        if self.installer == "pip":
            subprocess.run([*quiet, "pip", "install", "--python", str(python), "pip"], check=True)
            install = ["nice", "-n", "10", str(python), "-m", "pip", "install", "-qqq"]
        else:
            install = [*quiet, "pip", "install", "--python", str(python)]
        subprocess.run([*install, *self.requirements], check=True)
        stamp.write_text(wanted)
        return python

    @contextlib.contextmanager
    def running(
        self, task: str, model: Path, folder: Path, answers: Callable[[Running], bool], *options: str
    ) -> Iterator[Running]:
        """Serve ``task`` with the file ``model`` on SERVER_CORE until the block ends.

        ``answers`` asks one question and says whether the answer is right; it may raise OSError
        while nobody listens. Raises NotStarted.
        """
        python = self.install()
        port, grpc_port = free_port(), free_port()
        command = [
            str(python), str(PROGRAMS / self.program), "--task", task, "--model", str(model),
            "--port", str(port), "--grpc-port", str(grpc_port), "--folder", str(folder),
            *self.options, *options,
        ]  # fmt: skip
        environment = {
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            **self.variables,
        }
        log = folder / f"{self.name}.log"
        with supervised(on(SERVER_CORE, command), environment, log) as process:
            grpc = f"127.0.0.1:{grpc_port}" if "grpc" in self.speaks else None
            running = Running(f"http://127.0.0.1:{port}", grpc, process.pid)
            wait_until_right(self.title, running, answers, process, log)
            yield running


@contextlib.contextmanager
def supervised(
    command: list[str], environment: dict[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program in a process group of its own that ends with the block, and by itself after LONGEST."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            # Ends with the bench, even when that is killed; and after LONGEST whatever happens.
            ["setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=10", str(LONGEST), *command],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # The group outlives its leader when a worker was left behind: it is what is ended.
        for how, patience in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 10.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            end = time.monotonic() + patience
            while time.monotonic() < end and _alive(process):
                time.sleep(0.05)
            if not _alive(process):
                break


def _alive(process: "subprocess.Popen[bytes]") -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_right(
    title: str,
    running: Running,
    answers: Callable[[Running], bool],
    process: "subprocess.Popen[bytes]",
    log: Path,
    patience: float = 90.0,
) -> None:
    """Return once the server answers rightly; raises NotStarted when it ends or takes too long."""
    end = time.monotonic() + patience
    trouble = "no answer"
    while time.monotonic() < end:
        if process.poll() is not None:
            raise NotStarted(f"{title} ended with {process.returncode}:\n{_tail(log)}")
        try:
            if answers(running):
                return
            trouble = "a wrong answer"
        except (OSError, ValueError, KeyError) as error:
            trouble = repr(error)
        time.sleep(0.1)
    raise NotStarted(f"{title} did not answer rightly within {patience:.0f} s ({trouble}):\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def free_port() -> int:
    """A port of loopback that nobody had a moment ago; below the range that connections are given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
