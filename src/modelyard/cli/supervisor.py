"""The supervisor: starts control plane and node, restarts whichever dies, adopts those that live.

``python -m modelyard.cli.supervisor``, started detached by ``modelyard up``. Standard library only,
because it stays in memory for ever. SIGTERM stops the control plane, then the node (which drains),
then itself; a kill -9 leaves both serving, for the next supervisor to adopt.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from modelyard.cli.programs import ADDRESSES, MODULES, SUPERVISOR
from modelyard.core.errors import Conflict
from modelyard.host.files import write_json
from modelyard.host.lock import ProgramLock, holder
from modelyard.host.process import describe, open_process, send_signal
from modelyard.policy.backoff import Backoff

LOG_LIMIT = 10 * 1024 * 1024
# Seconds that a program may take to stop before it is killed; the node drains for up to 30.
PATIENCE = {"control": 15.0, "node": 40.0}
START_ORDER = ("node", "control")


class Program:
    """One program: running (``descriptor`` is its pidfd) or waiting to be started again."""

    def __init__(self, name: str, home: Path, poller: select.poll) -> None:
        self.name = name
        self.pid: int | None = None
        self.descriptor: int | None = None
        self.adopted = False
        self.since = 0.0
        self.restarts = 0
        self.failure: str | None = None
        self.due = 0.0  # monotonic time of the next start
        self._home = home
        self._poller = poller
        self._backoff = Backoff()

    def start(self) -> None:
        """Adopt the one that runs, else start one."""
        pid = holder(self._home / "run", self.name)
        self.adopted = pid is not None
        if pid is None:
            try:
                pid = self._spawn()
            except OSError as error:  # no process, no descriptor or no disk to be had: later, perhaps
                self.lost(f"it could not be started: {error}")
                return
        descriptor = open_process(pid)
        if descriptor is None:
            self.lost("it ended at once")
            return
        self.pid, self.descriptor = pid, descriptor
        running = describe(pid)
        self.since = running.started if running is not None else time.time()
        self._poller.register(descriptor, select.POLLIN)
        self._backoff.succeeded(time.monotonic())
        log(f"{self.name}: {'adopted' if self.adopted else 'started'} process {pid}")

    def ended(self) -> None:
        """Take note that the process has ended, and when to start it again."""
        assert self.pid is not None and self.descriptor is not None
        why = "it ended" if self.adopted else _reap(self.pid)
        self._forget()
        # Somebody else's may run by now (two supervisors were started at once): no failure then.
        if holder(self._home / "run", self.name) is not None:
            self.due = 0.0
            return
        self.lost(why)

    def lost(self, why: str) -> None:
        """Count a failure and wait."""
        wait = self._backoff.failed(time.monotonic())
        self.due = time.monotonic() + wait
        self.restarts += 1
        self.failure = why
        log(f"{self.name}: {why}; starting it again in {wait:g} s")

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when its patience is over."""
        if self.descriptor is None or self.pid is None:
            return
        send_signal(self.descriptor, signal.SIGTERM)
        if not _ends_within(self.descriptor, PATIENCE[self.name]):
            log(f"{self.name}: did not stop within {PATIENCE[self.name]:g} s; killed")
            send_signal(self.descriptor, signal.SIGKILL)
            _ends_within(self.descriptor, 5.0)
        if not self.adopted:
            _reap(self.pid)
        self._forget()
        log(f"{self.name}: stopped")

    def report(self) -> dict[str, object]:
        """What ``modelyard status`` shows."""
        return {
            "pid": self.pid,
            "state": "running" if self.pid is not None else "backing_off",
            "since": self.since,
            "restarts": self.restarts,
            "adopted": self.adopted,
            "failure": self.failure,
        }

    def _forget(self) -> None:
        assert self.descriptor is not None
        self._poller.unregister(self.descriptor)
        os.close(self.descriptor)
        self.pid = self.descriptor = None

    def _spawn(self) -> int:
        output = self._home / "logs" / f"{self.name}.log"
        rotate(output)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        # -P: the folder that `up` was typed in must not be searched for modules.
        command = [sys.executable, "-P", "-m", MODULES[self.name]]
        return os.posix_spawn(
            sys.executable, command, self._environment(), file_actions=actions, setsid=True,
            setsigmask=(), setsigdef=(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE),
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """Ours; but a program that may take any port gets the one it had before, if that is free, and the node
        does not get the database."""
        environment = dict(os.environ)
        if self.name == "node":  # which has no business with it, nor its executors with a password
            environment.pop("MODELYARD_DATABASE", None)
        for name in ADDRESSES[self.name]:
            variable = f"MODELYARD_{name.upper()}_PORT"
            if os.environ.get(variable) != "0":
                continue
            with contextlib.suppress(OSError, ValueError):
                former = urlsplit((self._home / "run" / f"{name}.url").read_text().strip())
                if former.hostname and former.port and _is_free(former.hostname, former.port):
                    environment[variable] = str(former.port)
        return environment


class Supervisor:
    """Both programs, and the loop that watches them."""

    def __init__(self, home: Path) -> None:
        self._state = home / "run" / "supervisor.json"
        self._poller = select.poll()
        self._programs = [Program(name, home, self._poller) for name in START_ORDER]
        self._started = time.time()
        self._stopping = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        wakeup, alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._poller.register(wakeup, select.POLLIN)
        while not self._stopping:
            now = time.monotonic()
            for program in self._programs:
                if program.descriptor is None and program.due <= now:
                    program.start()
            self._write("running")
            waiting = [program.due for program in self._programs if program.descriptor is None]
            timeout = max(0.0, min(waiting) - time.monotonic()) * 1000 + 1 if waiting else None
            readable = {descriptor for descriptor, _ in self._poller.poll(timeout)}
            for program in self._programs:
                if program.descriptor in readable:
                    program.ended()
        self._write("stopping")
        for program in reversed(self._programs):
            program.stop()
        self._state.unlink(missing_ok=True)

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping = True

    def _write(self, state: str) -> None:
        programs = {program.name: program.report() for program in self._programs}
        try:
            write_json(
                self._state,
                {"pid": os.getpid(), "started": self._started, "state": state, "programs": programs},
            )
        except OSError as error:  # a full disk must not take the watch away
            log(f"the state cannot be written: {error}")


def rotate(output: Path) -> None:
    """Set a log of more than 10 MB aside, so that it starts anew."""
    with contextlib.suppress(FileNotFoundError):
        if output.stat().st_size > LOG_LIMIT:
            output.replace(output.with_name(output.name + ".1"))


def log(message: str) -> None:
    """One line into logs/supervisor.log."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {message}", flush=True)


def _reap(pid: int) -> str:
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return "it ended"
    code = os.waitstatus_to_exitcode(status)
    return f"it was killed by signal {-code}" if code < 0 else f"it exited with status {code}"


def _ends_within(descriptor: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def main() -> int:
    """Supervise the home of MODELYARD_HOME; 0 also when another supervisor does it already."""
    home = Path(os.environ["MODELYARD_HOME"])
    os.chdir(home)
    lock = ProgramLock(home / "run", SUPERVISOR)
    try:
        lock.acquire()
    except Conflict:
        log("another supervisor runs already")
        return 0
    log(f"supervisor {os.getpid()} begins")
    Supervisor(home).run()
    log("supervisor ends")
    return 0


if __name__ == "__main__":
    sys.exit(main())
