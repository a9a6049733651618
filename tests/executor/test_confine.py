"""The filter of sockets, decided here as the kernel would, for calls that this machine's programs cannot make; and
what a refused model is told."""

import errno
import socket
import struct

import pytest

from modelyard_executor import confine

X86_64, I386, AARCH64, ARM, RISCV64 = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0xC00000F3


def allows(machine: str, architecture: int, call: int, first: int = 0) -> bool:
    """Run the filter on one call (classic BPF; the instructions that it uses)."""
    data = struct.pack("=IIQ6Q", call, architecture, 0, first, 0, 0, 0, 0, 0)
    program = [struct.unpack("=HBBI", each) for each in confine._filter(machine)]
    position, accumulator = 0, 0
    while True:
        operation, yes, no, value = program[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x06:
            assert value in (0x7FFF0000, 0x00050000 | errno.EACCES)
            return value == 0x7FFF0000
        else:
            assert operation in (0x15, 0x35)
            met = accumulator == value if operation == 0x15 else accumulator >= value
            position += yes if met else no


@pytest.mark.parametrize(
    ("machine", "architecture", "call"),
    [
        ("x86_64", X86_64, 41),
        ("aarch64", AARCH64, 198),
        ("aarch64", ARM, 281),
        ("riscv64", RISCV64, 198),
    ],
)
def test_sockets_are_refused_by_their_family(machine: str, architecture: int, call: int) -> None:
    for family in range(50):
        assert allows(machine, architecture, call, family) == (
            family in (socket.AF_UNIX, socket.AF_NETLINK)
        )
    # The kernel looks at 32 bits of a family, and so does the filter.
    assert not allows(machine, architecture, call, 1 << 32 | socket.AF_INET)


@pytest.mark.parametrize(
    ("machine", "architecture", "call"),
    [
        ("x86_64", X86_64, 425),  # io_uring_setup, which makes sockets without socket(2)
        ("x86_64", X86_64, 0x40000000 + 41),  # socket of x32
        ("x86_64", I386, 102),  # socketcall
        ("x86_64", I386, 359),  # socket
        ("x86_64", I386, 425),
        ("aarch64", AARCH64, 425),
        ("aarch64", ARM, 425),
        ("riscv64", RISCV64, 425),
    ],
)
def test_other_ways_to_a_socket_are_refused(machine: str, architecture: int, call: int) -> None:
    assert not allows(machine, architecture, call, socket.AF_UNIX)


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", X86_64), ("x86_64", I386), ("aarch64", AARCH64), ("aarch64", ARM), ("riscv64", RISCV64)],
)
def test_all_other_calls_are_let_through(machine: str, architecture: int) -> None:
    ways = {41, 198, 281, 359, 102, 425}
    assert all(
        allows(machine, architecture, call, socket.AF_INET) for call in range(500) if call not in ways
    )


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine, "_held", {"files": "Landlock 7", "network": "seccomp"})


def chained(cause: BaseException) -> BaseException:
    try:
        try:
            raise cause
        except BaseException as error:
            raise RuntimeError("the hub cannot be reached") from error
    except RuntimeError as error:
        return error


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    ("error", "leave"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "--network"),
        (socket.gaierror(-3, "Temporary failure in name resolution"), "--network"),
        (chained(socket.gaierror(-3, "Temporary failure in name resolution")), "--network"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "--folder"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "--folder"),
        ("cp: cannot open '/data/x': Permission denied", "--folder"),
        ("curl: (6) Could not resolve host: example.org", "--network"),
    ],
)
def test_who_was_refused_is_told_the_leave(error: "BaseException | str", leave: str) -> None:
    assert leave in confine.hint(error)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        FileNotFoundError(errno.ENOENT, "No such file", "/x"),
        "no such file",
        "",
        KeyError(),
    ],
)
def test_other_errors_are_told_as_they_are(error: "BaseException | str") -> None:
    assert confine.hint(error) == ""


def test_where_nothing_is_held_nothing_is_said_of_it() -> None:
    assert confine.hint(PermissionError(errno.EACCES, "Permission denied")) == ""
