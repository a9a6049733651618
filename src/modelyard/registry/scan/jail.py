"""What a scanning process may do: read, compute, answer. Put on by itself once all that it needs is imported.

A seccomp filter (seccomp(2)) refuses every call but a short list: no file is opened for writing, no socket is made, no
program and no process is started, nothing is signalled. Limits (setrlimit(2)) bound memory, processor time and files.
"""

import contextlib
import ctypes
import errno
import math
import os
import platform
import resource
import struct
import sys
import time
from typing import Final

MEMORY: Final = 1024 * 2**20  # bytes of address space, interpreter and all

# Calls that are allowed, by their numbers: (audit architecture, openat, its numbers of all others).
_X86: Final = (
    0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 21, 24, 25, 28, 32, 35, 39, 60, 63, 72, 79, 89, 96, 97, 98, 99,
    102, 104, 107, 108, 131, 186, 201, 202, 204, 217, 228, 229, 230, 231, 262, 267, 273, 318, 324, 332, 334,
)  # fmt: skip
_ARM: Final = (
    63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 29, 67, 65, 48, 124, 216, 233, 101, 172, 93, 160, 25, 17, 78, 169, 165, 179,
    174, 175, 176, 177, 132, 178, 98, 123, 61, 113, 114, 115, 94, 79, 99, 278, 283, 291, 293, 73, 23, 163,
)  # fmt: skip
_MACHINES: Final = {
    "x86_64": (0xC000003E, 257, 317, _X86),
    "aarch64": (0xC00000B7, 56, 277, _ARM),
}
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


def limit(seconds: int, memory: int = MEMORY) -> None:
    """Bound memory (bytes), processor time (seconds from now on), and what may be written: nothing."""
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        # What the imports took is not the files' fault.
        (resource.RLIMIT_CPU, math.ceil(time.process_time()) + seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        with contextlib.suppress(ValueError, OSError):  # a lower one was there already
            resource.setrlimit(kind, (most, most))


def enter() -> str:
    """Refuse all that a scan does not need, from now on; what holds it (empty: nothing does on this machine)."""
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in _MACHINES:
        return ""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
        return ""
    program = _filter(machine)
    code = ctypes.create_string_buffer(b"".join(program))
    told = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    return "seccomp" if libc.syscall(_MACHINES[machine][2], 1, 0, told) == 0 else ""


def _filter(machine: str) -> list[bytes]:
    """Instructions of classic BPF (linux/filter.h) over seccomp_data: call at 0, architecture at 4, third argument
    at 32."""
    architecture, opening, _, allowed = _MACHINES[machine]
    load, equal, masked, answer = 0x20, 0x15, 0x45, 0x06

    def code(operation: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", operation, yes, no, value)

    program = [code(load, 4), code(equal, architecture, 1, 0), code(answer, _REFUSE), code(load, 0)]
    for number in allowed:
        program += [code(equal, number, 0, 1), code(answer, _ALLOW)]
    # Opening to read is allowed: what is imported late, what an exception's traceback wants.
    program += [
        code(equal, opening, 1, 0), code(answer, _REFUSE), code(load, 32), code(masked, _WRITING, 0, 1),
        code(answer, _REFUSE), code(answer, _ALLOW),
    ]  # fmt: skip
    return program
