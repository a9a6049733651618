"""A model loaded in its environment, in a process of its own, and asked for its example: before it is deployed.

The process has a folder of its own as its home, a limit on its memory and its time, none of our variables, and
is confined like an executor that serves: no network, no files but its own, where this machine can hold that.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from modelyard.analyze import analyze
from modelyard.analyze.packages import package_of
from modelyard.core.deployment import Leave
from modelyard.core.errors import RejectedContent
from modelyard.core.model import Analysis
from modelyard.core.routes import ExecutorSpec
from modelyard.core.signature import Signature
from modelyard.core.struct import Noun
from modelyard.package.environment import Environment, Environments
from modelyard.package.system import check_system
from modelyard.serve.codec import unpack_record
from modelyard.serve.pool.bounds import bounds_of
from modelyard.serve.pool.canary import canary_call
from modelyard.serve.pool.environment import environment as variables_of
from modelyard.serve.pool.executor import command
from modelyard.serve.pool.limits import Limits
from modelyard.store.files import FolderFiles
from modelyard_executor import wire

THREADS = 2
# How libraries say that they reached nobody.
_UNREACHED = re.compile(
    r"couldn't connect to|Temporary failure in|Failed to resolve|Could not resolve|Name or service not known|"
    r"Network is unreachable|Max retries exceeded|ConnectionError|ConnectError|<urlopen error"
)
_MEMORY = 8 * 2**30  # bytes; a model that needs more is deployed with --memory, not tried


class Trial(Noun):
    """How it went. Times in seconds, memory in bytes; ``answer`` is that of the example, by output."""

    environment: str
    environment_seconds: float
    load_seconds: float
    call_seconds: float
    memory: int
    answer: dict[str, Any]
    repeatable: bool
    network: bool
    log: str = ""


def attempt(
    folder: Path,
    environments: Environments,
    *,
    timeout: float = 600.0,
    network: bool = False,
    trusted: bool = False,
    python: str | None = None,
    progress: Callable[[str], None],
) -> Trial:
    """Try the model in ``folder``, on a Python that is ``python`` too. Raises RejectedContent with the model's
    own words when it does not load or answer, and what :func:`check_system` and :meth:`Environments.ensure` do."""
    analysis = analyze(FolderFiles(folder))
    begin = time.monotonic()
    if unknown := check_system(analysis.system_packages):
        progress(f"whether {', '.join(unknown)} is installed could not be checked: there is no dpkg here")
    environment = environments.ensure(
        analysis.requirements,
        progress,
        python=[each for each in (analysis.python, python) if each is not None],
        origins=analysis.origins,
    )
    built = time.monotonic() - begin
    place = Path(tempfile.mkdtemp(prefix="modelyard-trial-"))
    try:
        with environments.using(environment.id):
            return _Process(folder, analysis, environment, place, network=network, trusted=trusted).run(
                timeout, built, progress
            )
    finally:
        shutil.rmtree(place, ignore_errors=True)


class _Process:
    def __init__(
        self,
        folder: Path,
        analysis: Analysis,
        environment: Environment,
        place: Path,
        *,
        network: bool,
        trusted: bool,
    ) -> None:
        self._folder = folder
        self._analysis = analysis
        self._environment = environment
        self._place = place
        self._trusted = trusted
        self._leave = Leave(network=network or analysis.network)

    def run(self, timeout: float, built: float, progress: Callable[[str], None]) -> Trial:
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout)
        log = self._place / "log"
        limits = Limits(f"trial-{self._place.name}", _MEMORY)
        groups = limits.open()
        with ours, log.open("wb") as output:
            with theirs:
                process = subprocess.Popen(
                    command(self._environment.python, [theirs.fileno()], groups),
                    pass_fds=(theirs.fileno(), *groups), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    cwd=self._place, env=variables_of(self._place, THREADS, "cpu"), start_new_session=True,
                )  # fmt: skip
            for group in groups:
                os.close(group)
            try:
                limits.apply(process.pid)
                return self._talk(ours, built, progress, lambda: _tail(log))
            except (EOFError, OSError) as error:
                why = (
                    f"it took longer than {timeout:g} s"
                    if isinstance(error, TimeoutError)
                    else "its process ended"
                )
                if limits.exceeded():
                    why = f"it needed more than {_MEMORY >> 30} GiB of memory"
                raise RejectedContent(
                    f"The model could not be tried: {why}.\n{_tail(log)}".rstrip()
                ) from error
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                limits.end()
                limits.close()

    def _talk(
        self,
        ours: socket.socket,
        built: float,
        progress: Callable[[str], None],
        log: Callable[[], str],
    ) -> Trial:
        channel = wire.Channel(ours)
        files = str(self._folder.resolve())
        spec = ExecutorSpec(
            python=self._environment.python,
            adapter=self._analysis.adapter,
            files=files,
            trusted=self._trusted,
        )
        bounds = bounds_of(spec, self._leave, self._place, "auto")
        progress("loading the model")
        begin = time.monotonic()
        channel.send(
            {
                "type": "START", "versions": [1], "adapter": self._analysis.adapter, "files": files,
                "device": "cpu", "threads": THREADS, "options": self._analysis.options, "trusted": self._trusted,
                "confine": msgspec.to_builtins(bounds),
            }
        )  # fmt: skip
        hello, _ = channel.receive()
        if hello["type"] != "HELLO":
            raise RejectedContent(
                f"The model cannot be loaded: {hello['message']}{self._missing(log())}\n{log()}".rstrip()
            )
        loaded = time.monotonic() - begin
        signature = msgspec.convert(hello["signature"], Signature)
        example = self._analysis.example or hello["example"]
        progress("asking for its example")
        begin = time.monotonic()
        answer = self._ask(channel, signature, example, log)
        seconds = time.monotonic() - begin
        again = self._ask(channel, signature, example, log)
        return Trial(
            environment=self._environment.id,
            environment_seconds=built,
            load_seconds=loaded,
            call_seconds=seconds,
            memory=hello["memory"],
            answer=answer,
            repeatable=answer == again,
            network="network" not in hello["held"],
            log=log(),
        )

    def _missing(self, log: str) -> str:
        """What to do about a module that is not installed, or a network that was not given."""
        if (found := re.search(r"No module named '([\w.]+)'", log)) is not None:
            return f" Nothing lists what has {found[1]!r}: say it with --requirement {package_of(found[1].partition('.')[0])}."
        if not self._leave.network and _UNREACHED.search(log):
            return " It was tried without the network; if it has to download something, give it leave with --network."
        return ""

    def _ask(
        self,
        channel: wire.Channel,
        signature: Signature,
        example: dict[str, object] | None,
        log: Callable[[], str],
    ) -> dict[str, Any]:
        call = canary_call(signature, example, 0.0)
        described = [(each.name, each.datatype, each.shape, len(each.data)) for each in call.inputs]
        item = {"inputs": described, "parameters": dict(call.parameters)}
        channel.send({"type": "BATCH", "batch": 1, "items": [item]}, [each.data for each in call.inputs])
        header, body = channel.receive()
        if header.get("out_of_memory"):
            raise RejectedContent("The model ran out of memory with its example.")
        (result,) = header["items"]
        if "error" in result:
            raise RejectedContent(
                f"The model does not answer its example: {result['error']['message']}{self._missing(log())}\n{log()}".rstrip()
            )
        specs = {spec.name: spec for spec in signature.outputs}
        answer: dict[str, Any] = {}
        start = 0
        for name, datatype, shape, size in result["outputs"]:
            data = bytes(body[start : start + size])
            answer[name] = unpack_record(specs.get(name), datatype, shape, data, signature.batched)
            start += size
        return answer


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError):
        return log.read_text("utf-8", errors="replace")[-3000:].strip()
    return ""
