"""The program git, run so that a repository cannot make it run anything, ask anybody or wait for ever; its
failures as our errors."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from modelyard.core.addresses import shown
from modelyard.core.errors import Forbidden, Internal, ModelyardError, NotFound, Unavailable
from modelyard.package import https
from modelyard.package.meter import EVERY, disk_full
from modelyard.package.uv import Progress
from modelyard.policy.backoff import Backoff

TIMEOUT = 6 * 3600.0  # seconds that one command may take; a connection that stalls is noticed sooner
_ATTEMPTS: Final = 3
# What a repository may not make git do: run a hook, a filter or another program, ask, speak to other places.
_OPTIONS: Final = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.symlinks=false", "core.askPass=", "core.autocrlf=false",
    "protocol.ext.allow=never", "submodule.recurse=false", "fetch.recurseSubmodules=false", "gc.auto=0", "maintenance.auto=false",
    "filter.lfs.process=", "filter.lfs.smudge=", "filter.lfs.required=false", "advice.detachedHead=false",
    "http.lowSpeedLimit=1000", "http.lowSpeedTime=120",
)  # fmt: skip
_KEPT: Final = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PROXY_SSL_CAINFO")


class Refused(Unavailable):
    """A server that does not do what was asked for, but may do something else."""


class Unreachable(Unavailable):
    """A server that does not answer, or a connection that broke."""


def run_again(
    arguments: Sequence[str], folder: Path, *, url: str, revision: str | None, progress: Progress
) -> str:
    """As :func:`run`, for what speaks to a server: tried anew when the connection breaks."""
    backoff = Backoff(first=https.FIRST_WAIT)
    while True:
        try:
            return run(arguments, folder, url=url, revision=revision, progress=progress)
        except Unreachable as error:
            seconds = backoff.failed(0.0)
            if backoff.failures >= _ATTEMPTS:
                raise
            progress(f"{error.message} Trying again.")
            time.sleep(seconds)


def run(
    arguments: Sequence[str], folder: Path, *, url: str, revision: str | None, progress: Progress
) -> str:
    """What ``git <arguments>`` prints in ``folder``; ``url`` and ``revision`` are what it is about.

    Raises NotFound, Forbidden, Unavailable, Internal: what its failure means.
    """
    try:
        process = subprocess.Popen(
            ["git", *arguments],
            cwd=folder, env=_environment(url), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, text=True, encoding="utf-8", errors="surrogateescape",
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Unavailable(
            "There is no git on this machine. Install it (apt-get install git), or name a folder."
        ) from error
    printed: list[str] = []
    late = threading.Event()
    assert process.stdout is not None
    reader = threading.Thread(
        target=lambda out: printed.append(out.read()), args=(process.stdout,), daemon=True
    )
    timer = threading.Timer(TIMEOUT, lambda: (late.set(), _kill(process)))
    with process:
        try:
            reader.start()
            timer.start()
            said = _listen(process, progress)
            status = process.wait()
            reader.join()
        except BaseException:
            _kill(process)
            raise
        finally:
            timer.cancel()
    if late.is_set():
        raise Unavailable(
            f"git took longer than {TIMEOUT / 3600:.1f} hours for {shown(url)}.", retry_after=60.0
        )
    if status != 0:
        raise _failure(status, said, url, revision)
    return "".join(printed)


def _environment(url: str) -> dict[str, str]:
    scheme = url.partition("://")[0] if "://" in url else "ssh"
    own = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT
    }
    own.pop("SSH_ASKPASS", None)
    own |= {
        "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1", "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_ALLOW_PROTOCOL": scheme, "GCM_INTERACTIVE": "never", "LC_ALL": "C",
        "GIT_CONFIG_COUNT": str(len(_OPTIONS)),
    }  # fmt: skip
    own.setdefault(
        "GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=8"
    )  # fmt: skip
    for number, option in enumerate(_OPTIONS):  # also for the processes that git starts itself
        own[f"GIT_CONFIG_KEY_{number}"], own[f"GIT_CONFIG_VALUE_{number}"] = option.split("=", 1)
    return own


def _kill(process: "subprocess.Popen[str]") -> None:
    """git and what it has started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _listen(process: "subprocess.Popen[str]", progress: Progress) -> list[str]:
    """Say how far it is; gives its last words."""
    assert process.stderr is not None
    said: list[str] = []
    last = time.monotonic()
    for line in process.stderr:  # a carriage return ends a line, too
        text = line.strip()
        if re.match(r"(remote: )?[A-Z][a-z]+ (objects|deltas)|Updating files", text):
            if text.startswith("Receiving") and time.monotonic() - last >= EVERY:
                last = time.monotonic()
                progress(text[0].lower() + text[1:])
        elif text:
            said.append(text)
            del said[:-100]
    return said


def _failure(status: int, said: Sequence[str], address: str, revision: str | None) -> ModelyardError:
    """What git's words mean."""
    url = shown(address)
    text = "\n".join(said)
    last = next(
        (line for line in reversed(said) if line.startswith(("fatal:", "error:"))), said[-1] if said else ""
    )
    why = (
        re.sub(r"(?<=://)[^/@\s]+@", "", re.sub(r"^(fatal|error): ", "", last))[:300].rstrip(".")
        or "it says nothing"
    )
    if "No space left on device" in text:
        return disk_full()
    if re.search(
        r"couldn't find remote ref|not our ref|unadvertised object|no such ref|did not send all", text
    ):
        return NotFound(f"{url} has no {revision or 'commit'!r}.", field="revision")
    if re.search(
        r"dumb http|does not support (shallow|filter)|attempt to fetch/clone from a shallow", text
    ):
        return Refused(f"{url} gives no part of its history: {why}.")
    if re.search(
        r"could not read Username|Authentication failed|Permission denied|HTTP 40[13]|error: 40[13]|Invalid username",
        text,
    ):
        return Forbidden(
            f"{url} asks who you are, or is not there. For https, set up git's credential helper; for ssh, a key in your "
            "agent; then try again."
        )
    if "Host key verification failed" in text:
        return Forbidden(
            f"The host of {url} is not known to ssh: connect to it once by hand, and try again."
        )
    if re.search(
        r"[Rr]epository '?.*not found|does not appear to be a git repository|does not exist|not valid: is this a git repository"
        r"|error: 404|unable to find remote", text
    ):  # fmt: skip
        return NotFound(f"git cannot bring it: at {url} there is no repository ({why}).", field="source")
    if re.search(
        r"Could not resolve|Failed to connect|[Cc]onnection (refused|reset|timed out|closed)|unable to access|early EOF"
        r"|hung up|timed out|transfer closed|RPC failed|Operation too slow|unexpected disconnect", text
    ):  # fmt: skip
        return Unreachable(
            f"{url} cannot be reached: {why}. Check the network, then try again.", retry_after=30.0
        )
    return Internal(f"git cannot bring {url}: {why} (it ended with {status}).")
