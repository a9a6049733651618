"""The kinds of content that are known, and the walk over one file with all of them."""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from typing import Final, Protocol

from modelyard.core.errors import RejectedContent
from modelyard.core.scan import Finding
from modelyard.registry.scan import (
    compressed,
    eicar,
    gguf,
    hdf5,
    json_files,
    native,
    numpy_arrays,
    onnx,
    pickles,
    safetensors,
    saved_model,
    sevenzip,
    tars,
    templates,
    torchscript,
    zips,
)
from modelyard.registry.scan.opinions import Opinion
from modelyard.registry.scan.source import Broken, Budget, Source, TooMuch
from modelyard.registry.scan.view import Report, Shared, View

# Grows whenever a scanner would say something else of the same bytes.
VERSION: Final = "1"
SCANNER: Final = "modelyard"
MALFORMED: Final = (
    Broken, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError,
    ArithmeticError, NotImplementedError, SyntaxError, OSError, MemoryError, struct.error, zlib.error, lzma.LZMAError,
    zipfile.BadZipFile, tarfile.TarError, RejectedContent,
)  # fmt: skip


class Kind(Protocol):
    """What a file of this room offers."""

    @property
    def NAME(self) -> str: ...

    def looks(self, view: View) -> bool: ...

    def scan(self, view: View, report: Report) -> None: ...


KINDS: Final[tuple[Kind, ...]] = (
    eicar, zips, tars, compressed, sevenzip, numpy_arrays, safetensors, gguf, hdf5, onnx, saved_model, torchscript, json_files,
    templates, native, pickles,
)  # fmt: skip


_SPECIAL: Final = json_files.NAMES | saved_model.NAMES | {"pickle"}
_SUFFIXES: Final = (
    *pickles.NAMES, ".onnx", ".safetensors", ".json", *templates.NAMES, *native.NAMES,
)  # fmt: skip


def hint(name: str) -> str:
    """All of a file's name that a verdict may depend on; empty for most."""
    last = name.rpartition("/")[2].lower()
    if last in _SPECIAL:
        return last
    for suffix in compressed.NAMES:
        if last.endswith(suffix):
            return hint(last[: -len(suffix)]) + suffix
    return next(
        (suffix for suffix in sorted(_SUFFIXES, key=len, reverse=True) if last.endswith(suffix)), ""
    )


class Looked:
    """What was found in one file. ``pickles``: how many were met, for scanners that read nothing else."""

    def __init__(self, findings: Iterable[Finding], more: int, pickles: int) -> None:
        self.findings = tuple(findings)
        self.more = more
        self.pickles = pickles


def look_at(source: Source, name: str, opinion: Opinion | None = None) -> Looked:
    """Walk through one file and all that lies in it. Never raises for what the file holds.

    ``opinion`` is asked of each pickle; with one its findings are the answer, and not ours.
    """
    shared = Shared(Budget(source.size), _look)
    others = Shared(shared.budget, _look)
    if opinion is not None:
        shared.opinion = lambda held, start, end, at: opinion(held, start, end, Report(others, at.where))
    report = Report(shared)
    try:
        _look(View(source, name.rpartition("/")[2]), report)
    except TooMuch as error:
        report.add("unreadable", str(error))
    told = shared if opinion is None else others
    return Looked(told.findings, told.more, shared.pickles)


def _look(view: View, report: Report) -> None:
    for kind in KINDS:
        try:
            if kind.looks(view):
                kind.scan(view, report)
        except MALFORMED as error:
            why = " ".join(str(error).split())[:200] or type(error).__name__
            report.add("unreadable", f"{kind.NAME} that cannot be read: {why}")
