"""Runs Python on a kernel that lacks what executors are confined by: ``python lesser_kernel.py landlock,seccomp -m …``.

The kernel itself is what refuses: a filter (seccomp(2)) that all which is started here inherits answers calls as a
kernel does that has never heard of them.
"""

import ctypes
import errno
import os
import struct
import sys

# Numbers of the calls, alike on all processors but for seccomp(2).
CALLS = {
    "landlock": (444, 445, 446),
    "seccomp": (317,) if os.uname().machine == "x86_64" else (277,),
    "mounts": (442,),  # mount_setattr(2)
}


def lessen(*without: str) -> None:
    """Have the kernel not know these, for this process and all that it starts."""
    numbers = [number for name in without for number in CALLS[name]]
    code = [struct.pack("=HBBI", 0x20, 0, 0, 0)]  # the call's number
    for number in numbers:
        code += [
            struct.pack("=HBBI", 0x15, 0, 1, number),
            struct.pack("=HBBI", 0x06, 0, 0, 0x50000 | errno.ENOSYS),
        ]
    code.append(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(b"".join(code))
    told = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, told, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this machine takes no filter")


if __name__ == "__main__":
    lessen(*sys.argv[1].split(","))
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
