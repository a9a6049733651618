"""The scanning process, forked from a ``template`` for one request. Asks for bytes, answers, ends.

One JSON line each way, and behind a ``read`` its bytes (length as u32, little-endian):

    in    {"files": [[name, size], …], "seconds": 60, "memory": 1073741824}
    out   {"held": "seccomp"}
    out   {"read": [index, offset, length]}     in    length, bytes
    out   {"file": index, "findings": […], "more": 0, "pickles": 1, "peak": bytes}
    out   {"end": true}
"""

import contextlib
import importlib
import json
import os
import sys
import warnings
from typing import Any, BinaryIO, Final

from modelyard.registry.scan import jail, kinds
from modelyard.registry.scan.opinions import Opinion

_WINDOW: Final = 128 * 1024
_MOST: Final = 32 * 1024 * 1024 + 4096


class Served:
    """A file whose bytes the other side hands out."""

    def __init__(self, index: int, size: int, pipes: tuple[BinaryIO, BinaryIO]) -> None:
        self.size = size
        self._index = index
        self._requests, self._answers = pipes
        self._start = 0
        self._data = b""

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        if length == 0 or offset < 0:
            return b""
        at = offset - self._start
        if at < 0 or at + length > len(self._data):
            if length > _WINDOW:
                return b"".join(
                    self._ask(offset + done, min(_MOST, length - done)) for done in range(0, length, _MOST)
                )
            self._start, self._data = offset, self._ask(offset, min(_WINDOW, self.size - offset))
            at = 0
        return self._data[at : at + length]

    def _ask(self, offset: int, length: int) -> bytes:
        _say(self._answers, {"read": [self._index, offset, length]})
        count = int.from_bytes(_exactly(self._requests, 4), "little")
        return _exactly(self._requests, count)


def main(opinion: Opinion | None) -> None:
    """Serve one request over the descriptors 0 and 1 and come back."""
    requests, answers = open(0, "rb", closefd=False), os.fdopen(os.dup(1), "wb")  # noqa: SIM115
    os.dup2(2, 1)  # whatever a library prints is no answer
    asked: dict[str, Any] = json.loads(requests.readline())
    warnings.simplefilter("ignore")
    jail.limit(asked["seconds"], asked["memory"])
    _say(answers, {"held": jail.enter()})
    for index, (name, size) in enumerate(asked["files"]):
        source = Served(index, size, (requests, answers))
        looked = kinds.look_at(source, name, opinion)
        found = [
            {"level": each.level, "what": each.what, "where": each.where, "offset": each.offset, "reaches": each.reaches}
            for each in looked.findings
        ]  # fmt: skip
        told = {
            "file": index,
            "findings": found,
            "more": looked.more,
            "pickles": looked.pickles,
            "peak": _peak(),
        }
        _say(answers, told)
    _say(answers, {"end": True})


def warm() -> None:
    """Import what is imported late, before files cannot be looked for."""
    import ast
    import encodings.cp437
    import encodings.raw_unicode_escape
    import encodings.utf_16_le
    import unicodedata

    import jinja2
    import jinja2.ext
    import zstandard

    with contextlib.suppress(ImportError):
        importlib.import_module("lz4.frame")
    _ = (ast, encodings, unicodedata, jinja2, zstandard)


def _peak() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


def _say(answers: BinaryIO, told: dict[str, Any]) -> None:
    answers.write(json.dumps(told).encode() + b"\n")
    answers.flush()


def _exactly(requests: BinaryIO, count: int) -> bytes:
    data = requests.read(count)
    if len(data) != count:
        sys.exit(3)  # nobody is there any more
    return data
