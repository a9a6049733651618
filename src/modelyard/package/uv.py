"""uv, run as a process: its progress as lines for people, its failures as our errors."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import uv

from modelyard.core.errors import Internal, ModelyardError, RejectedContent, Unavailable
from modelyard.host.background import NICENESS, Background
from modelyard.package.sources import Sources

Progress = Callable[[str], None]

_INSTALLS = max(
    1, (os.cpu_count() or 1) // 2
)  # threads that link or copy files; UV_CONCURRENT_INSTALLS is stronger

_NETWORK = re.compile(
    r"Failed to fetch|Could not connect|error sending request|Request failed|network was disabled|"
    r"Network connectivity is disabled|timed out|dns error|Failed to download|error decoding response body"
)
_PROGRESS = re.compile(r"^Downloading .*")
_STORY = re.compile(r"^(Downloading|Downloaded|Prepared|Installed|Resolved|Using|Creating|Activate|[+-]) ")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def run(arguments: Sequence[str], *, sources: Sources, folder: Path, lock: int, progress: Progress) -> None:
    """Run ``uv <arguments>`` in ``folder``; the lock's descriptor ``lock`` is handed down to it.

    When an index cannot be reached, what uv has in its cache is tried: enough for a model whose
    packages another one had. Raises RejectedContent when the requirements have no solution, Unavailable
    when an index cannot be reached or the disk is full, Internal for anything else; each with uv's reason.
    """
    try:
        _run(arguments, sources=sources, folder=folder, lock=lock, progress=progress)
    except Unreachable as unreachable:
        progress("the package index cannot be reached; trying what is cached")
        try:
            _run(["--offline", *arguments], sources=sources, folder=folder, lock=lock, progress=progress)
        except ModelyardError:
            raise unreachable from None


class Unreachable(Unavailable):
    """An index that does not answer."""


class Unsolvable(RejectedContent):
    """Requirements that have no solution; ``reason`` is uv's, in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(_no_solution(reason), field="requirements")
        self.reason = _shortened(reason, 1500)


def _run(
    arguments: Sequence[str], *, sources: Sources, folder: Path, lock: int, progress: Progress
) -> None:
    process = subprocess.Popen(
        [*_kindly(), binary(), "--color", "never", "--no-progress", *arguments],
        cwd=folder,
        env={"UV_CONCURRENT_INSTALLS": str(_INSTALLS)} | sources.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(lock,),
        start_new_session=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    said: list[str] = []
    with process:
        try:
            assert process.stderr is not None
            with Background(process.pid):
                for line in process.stderr:
                    said.append(line.rstrip())
                    if match := _PROGRESS.match(line.strip()):
                        progress("d" + match[0][1:])
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if status != 0:
        raise _failure(status, said)


@functools.cache
def _kindly() -> list[str]:
    """What is put before a command that must not get in the way of models that serve. Its priority for the disk
    follows from that for the processor (ioprio_set(2))."""
    nice = shutil.which("nice")
    return [] if nice is None else [nice, "-n", str(NICENESS)]


@functools.cache
def binary() -> str:
    return uv.find_uv_bin()


def _failure(status: int, said: Sequence[str]) -> ModelyardError:
    text = _CREDENTIALS.sub("", "\n".join(line for line in said if not _STORY.match(line.strip())))
    reason = _in_one_line(text)
    if "No space left on device" in text or "os error 28" in text:
        return disk_full()
    if "No solution found" in text and not _NETWORK.search(text):
        return Unsolvable(reason)
    if _NETWORK.search(text):
        return Unreachable(
            f"The packages cannot be fetched: {_shortened(reason)} Check the network and the package index.",
            retry_after=30.0,
        )
    if status < 0:
        return Internal(f"uv was killed by signal {-status} while it prepared the environment.")
    return Internal(f"uv could not prepare the environment: {_shortened(reason)}")


def disk_full() -> Unavailable:
    """The error for a disk on which an environment has no room."""
    return Unavailable(
        "The disk is full: the environment could not be built, and what was begun is removed. "
        "Free some space.",
        retry_after=60.0,
    )


def _no_solution(reason: str) -> str:
    """A sentence from uv's explanation, which names the requirements that are at odds."""
    missing = re.search(r"[Bb]ecause (\S+) was not found in the package registry", reason)
    if missing:
        return (
            f"There is no package named {missing[1]!r} in the configured package index; check the spelling."
        )
    wheels = (
        "no wheels" in reason
        or "no usable wheels" in reason
        or "building from source is disabled" in reason
    )
    advice = (
        "It needs another Python: name one with --python."
        if "does not satisfy Python" in reason
        else "Environments are built from wheels only: pin versions that have a wheel for this Python and platform."
        if wheels
        else "Loosen or correct one of them."
    )
    return f"The requirements cannot be met together: {_shortened(reason, 1500)} {advice}"


def _in_one_line(text: str) -> str:
    words = " ".join(text.split())
    words = re.sub(r"^(error: )?(× )?No solution found when resolving dependencies:?\s*", "", words)
    return re.sub(r"\s*(╰─▶|├─▶|│|cause:)\s*", " ", words).removeprefix("error: ").strip()


def _shortened(text: str, limit: int = 600) -> str:
    text = text if len(text) <= limit else text[:limit].rstrip() + " …"
    return text if text.endswith((".", "…")) else text + "."
