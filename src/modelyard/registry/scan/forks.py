"""Scanning processes: forked from a template, which is started when there is none."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from typing import Final

_TRIES: Final = 3
_BEGINS: Final = 120.0  # seconds that a template may take to begin, on a machine that is busy
_VARIABLES: Final = {"PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class NoScanner(Exception):
    """The scanning process could not begin: nothing was looked at."""


class Fork:
    """One scanning process. ``kill`` from any thread."""

    def __init__(self, requests: int, answers: int, complaints: int, told: socket.socket) -> None:
        self.stdin = os.fdopen(requests, "wb")
        self.stdout = os.fdopen(answers, "rb")
        self.stderr = os.fdopen(complaints, "rb")
        self._told = told
        self._code: int | None = None

    def kill(self) -> None:
        """Its end, if that has not come yet."""
        with contextlib.suppress(OSError):
            self._told.shutdown(socket.SHUT_WR)

    def wait(self) -> int:
        """How it ended: its exit status, a signal as a negative number. 1, too, when its template was killed."""
        if self._code is None:
            said = self._told.recv(32)
            self._code = int(said) if said else 1
        return self._code

    def close(self) -> None:
        """Forget it: kill, wait, and close what is open. What is not taken back is left to its end."""
        self.kill()
        self.wait()
        self._told.close()
        for pipe in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):  # of bytes that it did not read any more
                pipe.close()


class _Template:
    """A running template. Raises NoScanner when it does not begin, with its last words."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.control, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as words:
            try:
                self._process = subprocess.Popen(
                    [*command[:4], str(theirs.fileno()), *command[4:]],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=words,
                    env=_VARIABLES,
                    pass_fds=[theirs.fileno()],
                )
            except OSError as error:
                self.control.close()
                raise NoScanner(str(error)) from error
            theirs.close()  # its end is to be seen
            self.control.settimeout(_BEGINS)
            ready = b""
            with contextlib.suppress(OSError):
                ready = self.control.recv(1)
            if not ready:
                self.end()
                words.seek(0)
                last = words.read()[-4096:].decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
                raise NoScanner(f"it ended while it began ({self._process.returncode}): {last[0][:200]}")

    def end(self) -> None:
        """At once, and what it forked with it."""
        self.control.close()
        self._process.kill()
        self._process.wait()


_lock = threading.Lock()
_templates: dict[tuple[str, ...], _Template] = {}


def fork(opinion: str | None = None) -> Fork:
    """A new scanning process, with ``opinion`` loaded. Raises NoScanner."""
    command = (
        sys.executable,
        "-I",
        "-m",
        "modelyard.registry.scan.template",
        *([opinion] if opinion else []),
    )
    for _ in range(_TRIES):
        template = _template(command)
        with contextlib.suppress(OSError):
            if (forked := _forked(template)) is not None:
                return forked
        _forget(command, template)  # it has ended: nobody had asked for a while, or it was killed
    raise NoScanner("what it is forked from ends again and again")


def _forked(template: _Template) -> Fork | None:
    told, theirs = socket.socketpair()
    pipes = [os.pipe(), os.pipe(), os.pipe()]
    (reads, requests), (answers, writes), (complaints, complains) = pipes
    given = (reads, writes, complains)
    try:
        socket.send_fds(template.control, [b"f"], [*given, theirs.fileno()])
        theirs.close()
        told.settimeout(_BEGINS)
        begun = told.recv(1)
        told.settimeout(None)
    except OSError:
        begun = b""
    finally:
        theirs.close()
        for each in given:
            os.close(each)
    if begun:
        return Fork(requests, answers, complaints, told)
    told.close()
    for each in (requests, answers, complaints):
        os.close(each)
    return None


def _template(command: tuple[str, ...]) -> _Template:
    with _lock:
        if command not in _templates:
            _templates[command] = _Template(command)
        return _templates[command]


def _forget(command: tuple[str, ...], template: _Template) -> None:
    with _lock:
        if _templates.get(command) is template:
            del _templates[command]
    template.end()
