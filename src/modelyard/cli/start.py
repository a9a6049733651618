"""Bring the platform of this machine up, and down."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from modelyard.cli import ports, programs
from modelyard.core.errors import Conflict, Internal, InvalidInput, Unavailable
from modelyard.core.settings import Home, Settings, load_settings
from modelyard.host.files import read_json, write_json
from modelyard.host.home import prepare
from modelyard.host.lock import holder
from modelyard.host.network import is_loopback
from modelyard.host.process import is_alive, open_process, send_signal

READY_WITHIN = 60.0  # seconds
STOPPED_WITHIN = 70.0
Tell = Callable[[str], None]


class Flags(NamedTuple):
    """What `up` may be told; None: as configured."""

    control_port: int | None = None
    node_port: int | None = None
    host: str | None = None
    authentication: bool | None = None
    grpc_port: int | None = None
    processes: int | None = None
    memory: str | None = None
    device_memory: str | None = None
    database: str | None = None

    def settings(self) -> dict[str, object]:
        """As settings of core, only the given ones."""
        values: dict[str, object] = {
            "control_port": self.control_port,
            "node_port": self.node_port,
            "grpc_port": self.grpc_port,
            "node_processes": self.processes,
            "memory": self.memory,
            "device_memory": self.device_memory,
            "database": self.database,
            "control_host": self.host,
            "node_host": self.host,
            "authentication": self.authentication,
        }
        return {name: value for name, value in values.items() if value is not None}


class Addresses(NamedTuple):
    """Where the running platform is; ``started`` is False when it ran already."""

    control: str
    node: str
    grpc: str
    started: bool


def is_up(home: Home) -> bool:
    """Whether a supervisor watches over the platform of ``home``."""
    return holder(home.run, programs.SUPERVISOR) is not None


def bring_up(flags: Flags, tell: Tell) -> Addresses:
    """Start what does not run of the platform and wait until it is ready. ``tell`` is given progress.

    Raises Conflict for a taken port or flags that the running platform does not have, InvalidInput for
    settings that cannot be, Internal with the program's last words when it does not start.
    """
    settings = load_settings(**flags.settings())
    home = Home(settings.home)
    _check_exposure(settings)
    prepare(home)
    alive = [name for name in programs.MODULES if holder(home.run, name) is not None]
    former = read_json(home.run / "up.json")
    if alive or is_up(home):
        _check_same(flags, settings, former)
        values: dict[str, object] = former
    else:
        # In whole, so that a later supervisor, started without these flags, keeps to them.
        kept = {name: getattr(settings, name) for name in _KEPT}
        values = {
            f"MODELYARD_{name.upper()}": _text(value) for name, value in kept.items() if value is not None
        }
        write_json(home.run / "up.json", values)
    supervisor = None
    if not is_up(home):
        if "control" not in alive:
            ports.check_free(
                settings.control_host, settings.control_port, "--port", "MODELYARD_CONTROL_PORT"
            )
        if "node" not in alive:
            ports.check_free(settings.node_host, settings.node_port, "--node-port", "MODELYARD_NODE_PORT")
            ports.check_free(settings.node_host, settings.grpc_port, "--grpc-port", "MODELYARD_GRPC_PORT")
        supervisor = _spawn(home, values)
    control, node = _wait_ready(home, tell, supervisor)
    return Addresses(control, node, home.address("grpc").read_text().strip(), supervisor is not None)


def take_down(home: Home, tell: Tell) -> bool:
    """Stop everything, the node last so that it drains. False when nothing ran."""
    found = False
    # Without a supervisor (it was killed) its programs are stopped one by one, in its order.
    for name in (programs.SUPERVISOR, "control", "node"):
        pid = holder(home.run, name)
        descriptor = open_process(pid) if pid is not None else None
        if descriptor is None:
            continue
        found = True
        tell("stopping" if name == programs.SUPERVISOR else f"stopping {name}")
        send_signal(descriptor, signal.SIGTERM)
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if not poller.poll(STOPPED_WITHIN * 1000):
            raise Internal(
                f"Process {pid} ({name}) does not stop; see {home.logs}, and end it with `kill -9 {pid}`."
            )
        os.close(descriptor)
    return found


def _spawn(home: Home, values: dict[str, object]) -> int:
    """Start a supervisor; its process id."""
    environment = {name: value for name, value in os.environ.items() if name not in _CLIENT_VARIABLES}
    environment |= {name: str(value) for name, value in values.items()} | {"MODELYARD_HOME": str(home.root)}
    with (home.logs / "supervisor.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "modelyard.cli.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=home.root,
            start_new_session=True,
        )
    process.returncode = 0  # detached: it outlives this command, which does not wait for it
    return process.pid


_KEPT = (
    "control_host", "control_port", "node_host", "node_port", "grpc_port", "node_processes", "authentication",
    "memory", "device_memory", "database",
)  # fmt: skip
_PASSWORD = re.compile(r"://[^/]*@")
_CLIENT_VARIABLES = frozenset({"MODELYARD_URL", "MODELYARD_API_KEY"})


def _wait_ready(home: Home, tell: Tell, supervisor: int | None) -> tuple[str, str]:
    """Until control plane and node answer and are watched. Raises Internal when one keeps dying.

    ``supervisor`` is the process that was started to watch them, None when one ran already.
    """
    begin = time.monotonic()
    deadline = begin + READY_WITHIN
    before = {name: _log_size(home, name) for name in ("node", "control")}
    while True:
        waiting = [name for name in ("node", "control") if _address_if_ready(home, name) is None]
        if not waiting and _is_watched(home):
            control, node = _address_if_ready(home, "control"), _address_if_ready(home, "node")
            if control is not None and node is not None:
                return control, node
        state = read_json(home.run / "supervisor.json").get("programs", {})
        for name in waiting:
            if state.get(name, {}).get("restarts", 0) >= 3 and state[name].get("pid") is None:
                take_down(home, tell)
                raise Internal(
                    f"The {name} does not start: {state[name].get('failure')}. Its last words, from "
                    f"{home.logs / name}.log:\n{last_words(home, name, since=before[name])}"
                )
        if time.monotonic() > deadline:
            raise Unavailable(
                f"Not ready after {READY_WITHIN:g} s: {' and '.join(waiting)}. It goes on starting; see "
                f"`modelyard status` and {home.logs}."
            )
        # On a busy machine it may take its time to begin; what it must not have done is to end.
        begins = supervisor is not None and is_alive(supervisor)
        if not begins and not is_up(home) and time.monotonic() - begin > 5:
            raise Internal(f"The supervisor does not run; see {home.logs / 'supervisor.log'}.")
        tell(f"starting {' and '.join(waiting) or 'the supervisor'}")
        time.sleep(0.05)


def _is_watched(home: Home) -> bool:
    """Whether the supervisor that runs now has both programs in its care."""
    state = read_json(home.run / "supervisor.json")
    watched = state.get("programs", {})
    return state.get("pid") == holder(home.run, programs.SUPERVISOR) is not None and all(
        watched.get(name, {}).get("pid") == holder(home.run, name) for name in programs.MODULES
    )


def _address_if_ready(home: Home, name: str) -> str | None:
    """The URL of a program that runs, has written its address and answers there; else None."""
    import http.client
    from urllib.parse import urlsplit

    if holder(home.run, name) is None:
        return None
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        url = home.address(name).read_text().strip()
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        try:
            # A node whose models are still loading is up; its readiness is each model's own matter.
            connection.request("GET", "/ready" if name == "control" else "/v2/health/live")
            return url if connection.getresponse().status < 400 else None
        finally:
            connection.close()
    return None


def _log_size(home: Home, name: str) -> int:
    try:
        return (home.logs / f"{name}.log").stat().st_size
    except OSError:
        return 0


def last_words(home: Home, name: str, lines: int = 15, since: int = 0) -> str:
    """The end of a program's log behind its first ``since`` bytes, each line once: one that was started again and again
    says the same each time."""
    try:
        with (home.logs / f"{name}.log").open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(since if since <= size else 0, size - 64 * 1024))
            said = dict.fromkeys(reversed(file.read().decode(errors="replace").splitlines()))
            return "\n".join(reversed([*said][:lines]))
    except OSError:
        return "(it wrote nothing)"


def _check_exposure(settings: Settings) -> None:
    exposed = [host for host in (settings.control_host, settings.node_host) if not is_loopback(host)]
    if exposed and not settings.authentication:
        raise InvalidInput(
            f"Listening on {exposed[0]} would let everybody on the network in. Add `--authentication` "
            "(or MODELYARD_AUTHENTICATION=true), or stay on 127.0.0.1.",
            field="--host",
        )


def _check_same(flags: Flags, settings: Settings, former: dict[str, object]) -> None:
    for name in flags.settings():
        value = getattr(settings, name)  # as it is kept: 8GiB in bytes
        known = former.get(f"MODELYARD_{name.upper()}")
        if known != _text(value):
            raise Conflict(
                f"The platform runs already, with {name.replace('_', ' ')} {_shown(name, known)}, not "
                f"{_shown(name, value)}. "
                "To change it: `modelyard down`, then `modelyard up` again.",
                field=name,
            )


def _shown(name: str, value: object) -> str:
    """For people: never with a password."""
    return _PASSWORD.sub("://***@", _text(value)) if name == "database" else _text(value)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
