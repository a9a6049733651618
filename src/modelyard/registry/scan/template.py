"""The process that scanning processes are forked from: ``python -m modelyard.registry.scan.template DESCRIPTOR [OPINION]``.

It has all imported that a scan needs and never sees a byte of what is scanned: over its socket come single bytes, each
with the four descriptors of one scan (what it reads, answers, complains to, and a socket to hear how it ends), and for
each it forks. So a scan costs no start of an interpreter, and none has anything left of another.

    scanner -> template   "f" with the descriptors
    template -> scan's socket   "f" once it is forked, then how it ended as text; that socket's end is its kill
"""

import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Final, NamedTuple

from modelyard.registry.scan import opinions, worker
from modelyard.registry.scan.opinions import Opinion

IDLE: Final = 60.0  # seconds without a scan after which it ends, and gives its memory back


class _Scan(NamedTuple):
    pid: int
    told: socket.socket


class Template:
    """Forks until nobody is at the other end of ``control``, or nobody asked for a while."""

    def __init__(self, control: socket.socket, opinion: Opinion | None) -> None:
        self._control = control
        self._opinion = opinion
        self._scans: list[_Scan] = []
        self._ended, self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Until then. What is still scanned is ended with it."""
        signal.signal(signal.SIGCHLD, lambda *_: None)  # or else it would not be told below
        signal.set_wakeup_fd(self._ends)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)
        try:
            while True:
                ready = [key for key, _ in self._selector.select(None if self._scans else IDLE)]
                if not ready and not self._scans:
                    return
                for key in ready:
                    if key.fileobj is self._control:
                        if not self._ask():
                            return
                    elif key.fileobj == self._ended:
                        os.read(self._ended, 4096)
                    elif isinstance(key.data, _Scan):
                        os.kill(
                            key.data.pid, signal.SIGKILL
                        )  # its parent is here: the number is nobody else's
                        self._selector.unregister(key.fileobj)
                self._reap()
        finally:
            for scan in self._scans:
                os.kill(scan.pid, signal.SIGKILL)

    def _ask(self) -> bool:
        asked, descriptors, _, _ = socket.recv_fds(self._control, 1, 4)
        if not asked or len(descriptors) != 4:
            return False
        told = socket.socket(fileno=descriptors[3])
        pid = os.fork()
        if pid == 0:
            self._become(descriptors, told)
        for each in descriptors[:3]:
            os.close(each)
        scan = _Scan(pid, told)
        self._scans.append(scan)
        self._selector.register(told, selectors.EVENT_READ, scan)
        _tell(told, b"f")
        return True

    def _reap(self) -> None:
        for scan in list(self._scans):
            pid, status = os.waitpid(scan.pid, os.WNOHANG)
            if pid == 0:
                continue
            self._scans.remove(scan)
            if any(key.data is scan for key in self._selector.get_map().values()):
                self._selector.unregister(scan.told)
            _tell(scan.told, str(os.waitstatus_to_exitcode(status)).encode())
            scan.told.close()

    def _become(self, descriptors: list[int], told: socket.socket) -> None:
        """The scanning process: with these pipes and nothing else of here. It does not return."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, each in enumerate(descriptors[:3]):
                os.dup2(each, number)
                os.close(each)
            for scan in self._scans:
                scan.told.close()
            for each in (self._control, told, self._selector):
                each.close()
            os.close(self._ended)
            os.close(self._ends)
            worker.main(self._opinion)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except MemoryError:
            os.write(2, b"MemoryError\n")  # there may be no room for more words
        except BaseException:  # noqa: BLE001 - the edge of a process: told as Python would
            traceback.print_exc()
        finally:
            os._exit(code)


def _tell(told: socket.socket, data: bytes) -> None:
    try:
        told.send(data, socket.MSG_NOSIGNAL)
    except OSError:
        return  # nobody waits for it any more; its socket's end says the same


def main() -> None:
    """Import, say so, and serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    opinion = opinions.load(sys.argv[2]) if len(sys.argv) > 2 else None
    worker.warm()
    gc.collect()
    gc.freeze()  # pages that the collector does not write to stay shared
    if sys.platform == "linux" and (threads := len(list(Path("/proc/self/task").iterdir()))) > 1:
        sys.exit(f"what it imported has begun {threads - 1} threads, which no fork would have")
    control.send(b"r")
    Template(control, opinion).serve()


if __name__ == "__main__":
    main()
