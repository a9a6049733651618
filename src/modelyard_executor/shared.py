"""Bodies of frames in shared memory: slabs that one side lends and the other maps.

A slab is a memfd that its owner maps once, writes many bodies into, one after the other, and shows to the
other side once, as a descriptor (SCM_RIGHTS) on a socket beside the one with the frames:

    descriptor = u32 number of the slab | u32 its size     (little-endian) with one memfd

It is sent before the first frame whose header has ``"slab": [number, bytes]`` in place of a body. A slab
is sealed: it can be neither cut nor grown (a shorter one would kill who reads it), nor written by anybody
but its owner. A fresh memfd for each body is slower than the socket at every size (its pages have to be
found and cleared); a slab that is used again is faster from SMALLEST on.

Whatever is wanting — descriptors, memory, a kernel that knows these seals — the body goes through the
socket. Slabs are gone with the last process that maps them, however it ends.

Source of the seals: fcntl(2), F_SEAL_FUTURE_WRITE (Linux 5.1).
"""

import ctypes
import fcntl
import mmap
import os
import socket
import struct
import sys
import weakref
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Sequence

# Bytes from which a slab is faster than the socket (docs/architecture/decisions: Wire version 2).
SMALLEST = 64 * 1024
# Bytes of slabs that one side keeps; a body that does not fit any more goes through the socket.
KEPT = 64 * 1024 * 1024

# Whether this interpreter can have slabs at all. A lease ends with its last reference: PyPy, which counts none,
# would keep every slab until it happens to collect, and all bodies would go through the socket in the end.
USABLE = sys.implementation.name == "cpython" and hasattr(os, "memfd_create")

_MESSAGE = struct.Struct("<II")
_ADD_SEALS, _GET_SEALS = 1033, 1034
_SEAL, _SHRINK, _GROW, _FUTURE_WRITE = 1, 2, 4, 16


class SlabError(ValueError):
    """The other side named a slab that is none; it broke the protocol."""


class SlabMissing(SlabError):
    """The slab is there, but this process has no descriptor or memory left to map it."""


class Lender:
    """This side's slabs. ``lend`` and ``take_back`` are called on one thread."""

    def __init__(self, side: socket.socket) -> None:
        self._side = side
        self._maps: List[mmap.mmap] = []
        self._free: List[int] = []
        self._bytes = 0
        self._broken = not USABLE

    def lend(self, chunks: Sequence[Any], size: int) -> Optional[int]:
        """The number of a slab that holds ``chunks`` (``size`` bytes in all); None: use the socket."""
        number = self._find(size)
        if number is None:
            return None
        target = memoryview(self._maps[number])
        position = 0
        for chunk in chunks:
            view = memoryview(chunk).cast("B")
            target[position : position + view.nbytes] = view
            position += view.nbytes
        return number

    def take_back(self, number: int) -> None:
        """Nobody reads slab ``number`` any more."""
        self._free.append(number)

    def stop(self) -> None:
        """Lend no more: the other side cannot take what is lent."""
        self._broken = True

    def _find(self, size: int) -> Optional[int]:
        if self._broken:
            return None
        fitting = [number for number in self._free if len(self._maps[number]) >= size]
        if fitting:
            number = min(fitting, key=lambda each: len(self._maps[each]))
            self._free.remove(number)
            return number
        room = 1 << (size - 1).bit_length()
        if self._bytes + room > KEPT:
            return None
        return self._make(room)

    def _make(self, size: int) -> Optional[int]:
        """A new slab, shown to the other side. None when the system gives none, now or ever."""
        try:
            descriptor = os.memfd_create("modelyard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError:
            return None
        try:
            # Not only reserved but had: a write into a page that cannot be had would end the process.
            os.posix_fallocate(descriptor, 0, size)
            mapped = mmap.mmap(descriptor, size)
            fcntl.fcntl(descriptor, _ADD_SEALS, _SEAL | _SHRINK | _GROW | _FUTURE_WRITE)
            message = _MESSAGE.pack(len(self._maps), size)
            # Not socket.send_fds: it ignores its flags.
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))
            self._side.sendmsg([message], [rights], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except (OSError, ValueError, MemoryError):
            return None
        finally:
            os.close(descriptor)
        self._maps.append(mapped)
        self._bytes += size
        return len(self._maps) - 1


class Borrower:
    """The other side's slabs, as bodies that are read-only.

    With ``leases`` the number of a slab stands in ``released`` (filled by any thread) when nothing refers to
    its body any more; without, the protocol says when that is.
    """

    def __init__(self, side: socket.socket, *, leases: bool) -> None:
        self.released: Deque[int] = deque()
        self._leases = leases
        self._side = side
        self._maps: Dict[int, mmap.mmap] = {}

    def borrow(self, number: int, size: int) -> memoryview:
        """The body of ``size`` bytes in slab ``number``. Raises SlabError."""
        while number not in self._maps:
            self._receive()
        whole = self._maps[number]
        if not 0 < size <= len(whole):
            raise SlabError("slab %d has %d bytes, not %d" % (number, len(whole), size))
        if not self._leases:
            return memoryview(whole)[:size]
        lease = (ctypes.c_char * size).from_buffer(whole)
        weakref.finalize(lease, self.released.append, number).atexit = False
        return memoryview(lease).toreadonly().cast("B")

    def _receive(self) -> None:
        try:
            message, said, flags, _ = self._side.recvmsg(
                _MESSAGE.size,
                socket.CMSG_SPACE(struct.calcsize("i")),
                socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC,
            )
        except BlockingIOError:
            raise SlabError("it named a slab that it has not shown") from None
        except OSError as error:
            raise SlabMissing("a slab cannot be taken: %s" % error) from error
        descriptors = [
            descriptor
            for level, kind, data in said
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            for (descriptor,) in struct.iter_unpack("i", data[: len(data) // 4 * 4])
        ]
        try:
            if len(message) != _MESSAGE.size or len(descriptors) != 1 or flags & socket.MSG_CTRUNC:
                raise SlabMissing("a slab came without its descriptor; this process may have none left")
            number, size = _MESSAGE.unpack(message)
            seals = fcntl.fcntl(descriptors[0], _GET_SEALS)
            if seals & (_SHRINK | _FUTURE_WRITE) != _SHRINK | _FUTURE_WRITE:
                raise SlabError("slab %d is not sealed" % number)
            if os.fstat(descriptors[0]).st_size != size or number in self._maps or not size:
                raise SlabError("slab %d is not of the %d bytes that it should be" % (number, size))
            # Of a private mapping that could be written (and is not) ctypes makes an object with an end
            # that can be noticed; it counts for RLIMIT_DATA, so it is had only where it is needed.
            access = mmap.PROT_READ | (mmap.PROT_WRITE if self._leases else 0)
            self._maps[number] = mmap.mmap(descriptors[0], size, mmap.MAP_PRIVATE, access)
        except SlabError:
            raise
        except (OSError, ValueError) as error:
            raise SlabMissing("a slab cannot be mapped: %s" % error) from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
