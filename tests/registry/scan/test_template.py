"""The process that scans are forked from: when it begins, when it does not, and when it ends."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from modelyard.registry.scan import forks
from modelyard.registry.scan.forks import NoScanner, _Template
from modelyard.registry.scan.scanner import Asked, look

# As the program does it, with less patience.
SOON = (
    "import sys; from modelyard.registry.scan import template; template.IDLE = 0.3; sys.argv = ['', sys.argv[1]]; "
    "template.main()"
)


def begin(code: str) -> _Template:
    return _Template((sys.executable, "-I", "-c", code))


@pytest.fixture
def control() -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """A template that ends soon, which has said that it is ready, and our end of its socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-I", "-c", SOON, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    ours.settimeout(60)
    assert ours.recv(1) == b"r"
    yield ours, process
    ours.close()
    process.kill()
    process.wait()


def test_it_ends_when_nobody_asked_for_a_while(
    control: tuple[socket.socket, subprocess.Popen[bytes]],
) -> None:
    assert control[1].wait(60) == 0


def test_it_does_not_end_while_something_is_scanned(
    control: tuple[socket.socket, subprocess.Popen[bytes]],
) -> None:
    ours, process = control
    told, theirs = socket.socketpair()
    pipes = [os.pipe() for _ in range(3)]
    given = (pipes[0][0], pipes[1][1], pipes[2][1])
    with told:
        with theirs:
            socket.send_fds(ours, [b"f"], [*given, theirs.fileno()])
        told.settimeout(60)
        assert told.recv(1) == b"f"
        with pytest.raises(subprocess.TimeoutExpired):  # it waits for its question, which does not come
            process.wait(1.5)
        told.shutdown(socket.SHUT_WR)  # nobody wants it any more
        assert int(told.recv(32)) == -9
    for pipe in pipes:
        for each in pipe:
            os.close(each)
    assert process.wait(60) == 0


@pytest.mark.parametrize("rubbish", [b"f", b"x", b"ffff"])
def test_what_comes_without_descriptors_ends_it_and_nothing_is_forked(
    control: tuple[socket.socket, subprocess.Popen[bytes]], rubbish: bytes
) -> None:
    ours, process = control
    ours.send(rubbish)
    assert process.wait(60) == 0
    with contextlib.suppress(ConnectionResetError):  # of rubbish that it did not read
        assert ours.recv(1) == b""


def test_one_that_cannot_be_made_warm_says_why_and_nothing_passes() -> None:
    code = (
        "import sys; from modelyard.registry.scan import template, worker\n"
        "def warm(): raise ImportError('a library of the scan is broken')\n"
        "worker.warm = warm; sys.argv = ['', sys.argv[1]]; template.main()"
    )
    with pytest.raises(NoScanner, match="a library of the scan is broken"):
        begin(code)


def test_one_that_has_begun_threads_is_none() -> None:
    code = (
        "import sys, threading, time; from modelyard.registry.scan import template, worker\n"
        "def warm(): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "worker.warm = warm; sys.argv = ['', sys.argv[1]]; template.main()"
    )
    with pytest.raises(NoScanner, match="begun 1 threads"):
        begin(code)


def test_an_interpreter_that_is_not_there_is_told() -> None:
    with pytest.raises(NoScanner, match="No such file"):
        _Template(("/no/such/python", "-I", "-m", "x"))


def test_templates_that_end_again_and_again_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).send(b'r')"
    made: list[_Template] = []

    def template(command: tuple[str, ...]) -> _Template:
        made.append(begin(ready))
        return made[-1]

    monkeypatch.setattr(forks, "_template", template)
    with pytest.raises(NoScanner, match="again and again"):
        forks.fork()
    assert len(made) == 3
    with pytest.raises(NoScanner):  # which safety writes down as a verdict that lets nothing pass
        look([Asked("model.pkl", 4, lambda at, length: b"\x80\x04N."[at : at + length])])
