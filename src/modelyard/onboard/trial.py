"""A model loaded in its environment, in a process of its own, and asked for its example: before it is deployed.

The process has a folder of its own as its home, a limit on its memory and its time, none of our variables, and
is confined like an executor that serves: no network, no files but its own, where this machine can hold that.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import msgspec

from modelyard.analyze import analyze
from modelyard.analyze.packages import package_of
from modelyard.core.deployment import Leave
from modelyard.core.errors import RejectedContent
from modelyard.core.model import Analysis
from modelyard.core.routes import ExecutorSpec
from modelyard.core.signature import Signature
from modelyard.core.struct import Noun
from modelyard.host.temporary import temporary
from modelyard.package.environment import Environments
from modelyard.package.system import check_system
from modelyard.serve.codec import unpack_record
from modelyard.serve.pool.bounds import bounds_of
from modelyard.serve.pool.canary import canary_call
from modelyard.serve.pool.environment import environment as variables_of
from modelyard.serve.pool.executor import command
from modelyard.serve.pool.limits import Limits
from modelyard.store.files import FolderFiles
from modelyard_executor import wire

T = TypeVar("T")
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


class Proof(NamedTuple):
    """What a model answered in a process of its own: for each of ``records`` its outputs by name, as JSON has them.
    ``signature`` is the one that it said when it was loaded."""

    signature: Signature
    records: list[dict[str, Any]]
    answers: list[dict[str, Any]]


Records = Callable[[Signature, Mapping[str, object] | None], list[dict[str, Any]]]


def prove(
    folder: Path,
    analysis: Analysis,
    python: str,
    records: Records,
    *,
    timeout: float = 600.0,
    trusted: bool = False,
) -> Proof:
    """Load the model in ``folder`` by the interpreter ``python``, which has what it needs, and have it answer the
    ``records`` that are made for its signature (and the example that it says itself). Raises RejectedContent with the
    model's own words when it does not load or answer."""

    def ask(talk: _Talk) -> Proof:
        made = records(talk.signature, talk.example)
        return Proof(talk.signature, made, [talk.ask(record) for record in made])

    with temporary("modelyard-trial-") as place:
        return _Process(folder, analysis, python, place, network=False, trusted=trusted).run(timeout, ask)


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
    with temporary("modelyard-trial-") as place, environments.using(environment.id):
        process = _Process(folder, analysis, environment.python, place, network=network, trusted=trusted)
        progress("loading the model")
        return process.run(timeout, lambda talk: _tried(talk, environment.id, built, progress))


def _tried(talk: "_Talk", environment: str, built: float, progress: Callable[[str], None]) -> Trial:
    progress("asking for its example")
    begin = time.monotonic()
    answer = talk.ask(talk.example)
    seconds = time.monotonic() - begin
    again = talk.ask(talk.example)
    return Trial(
        environment=environment,
        environment_seconds=built,
        load_seconds=talk.loaded,
        call_seconds=seconds,
        memory=talk.memory,
        answer=answer,
        repeatable=answer == again,
        network=talk.network,
        log=talk.log(),
    )


class _Process:
    def __init__(
        self,
        folder: Path,
        analysis: Analysis,
        python: str,
        place: Path,
        *,
        network: bool,
        trusted: bool,
    ) -> None:
        self._folder = folder
        self._analysis = analysis
        self._python = python
        self._place = place
        self._trusted = trusted
        self._leave = Leave(network=network or analysis.network)

    def run(self, timeout: float, then: "Callable[[_Talk], T]") -> T:
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout)
        log = self._place / "log"
        limits = Limits(f"trial-{self._place.name}", _MEMORY)
        with ours, log.open("wb") as output:
            process: subprocess.Popen[bytes] | None = None
            try:
                # Interrupted meanwhile, a process that is not known yet ends by itself: nobody is at its socket.
                process = self._started(theirs, output, limits)
                try:
                    limits.apply(process.pid)
                    return then(self._talk(ours, lambda: _tail(log)))
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
                if process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                limits.end()
                limits.close()

    def _started(self, theirs: socket.socket, output: BinaryIO, limits: Limits) -> subprocess.Popen[bytes]:
        with theirs, contextlib.ExitStack() as opened:
            groups = limits.open()
            for group in groups:
                opened.callback(os.close, group)
            return subprocess.Popen(
                command(self._python, [theirs.fileno()], groups),
                pass_fds=(theirs.fileno(), *groups), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=self._place, env=variables_of(self._place, THREADS, "cpu"), start_new_session=True,
            )  # fmt: skip

    def _talk(self, ours: socket.socket, log: Callable[[], str]) -> "_Talk":
        channel = wire.Channel(ours)
        files = str(self._folder.resolve())
        spec = ExecutorSpec(
            python=self._python,
            adapter=self._analysis.adapter,
            files=files,
            trusted=self._trusted,
        )
        bounds = bounds_of(spec, self._leave, self._place, "auto")
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
        return _Talk(
            channel, msgspec.convert(hello["signature"], Signature), self._analysis.example or hello["example"],
            hello["memory"], time.monotonic() - begin, "network" not in hello["held"], log, self._missing,
        )  # fmt: skip

    def _missing(self, log: str) -> str:
        """What to do about a module that is not installed, or a network that was not given."""
        if (found := re.search(r"No module named '([\w.]+)'", log)) is not None:
            return f" Nothing lists what has {found[1]!r}: say it with --requirement {package_of(found[1].partition('.')[0])}."
        if not self._leave.network and _UNREACHED.search(log):
            return " It was tried without the network; if it has to download something, give it leave with --network."
        return ""


class _Talk(NamedTuple):
    """A model that is loaded, and can be asked. ``memory`` in bytes, ``loaded`` in seconds; ``log`` is what it wrote."""

    channel: wire.Channel
    signature: Signature
    example: dict[str, object] | None
    memory: int
    loaded: float
    network: bool
    log: Callable[[], str]
    missing: Callable[[str], str]

    def ask(self, record: dict[str, object] | None) -> dict[str, Any]:
        """Its outputs for a record (None: one that is made up). Raises RejectedContent."""
        channel, signature = self.channel, self.signature
        call = canary_call(signature, record, 0.0)
        described = [(each.name, each.datatype, each.shape, len(each.data)) for each in call.inputs]
        item = {"inputs": described, "parameters": dict(call.parameters)}
        channel.send({"type": "BATCH", "batch": 1, "items": [item]}, [each.data for each in call.inputs])
        header, body = channel.receive()
        if header.get("out_of_memory"):
            raise RejectedContent("The model ran out of memory with its example.")
        (result,) = header["items"]
        if "error" in result:
            raise RejectedContent(
                f"The model does not answer its example: {result['error']['message']}{self.missing(self.log())}\n{self.log()}".rstrip()
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
