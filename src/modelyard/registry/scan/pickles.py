"""Pickles of protocols 0 to 5, under whatever name: every global that loading one reaches, and where.

A stream that breaks off has carried out what stands before the break, so that is told as well.
"""

import re
from typing import Final

from modelyard.registry.scan.pickle_machine import MARKED, walk
from modelyard.registry.scan.pickle_stack import Walked
from modelyard.registry.scan.reach import reach
from modelyard.registry.scan.source import Bytes
from modelyard.registry.scan.view import Report, View

NAME: Final = "pickle"
NAMES: Final = (
    ".pkl", ".pickle", ".p", ".joblib", ".dill", ".sav", ".pck", ".cpkl", ".pt", ".pth", ".ckpt", ".z", ".gz", ".bz2", ".xz", ".lzma", ".lz4",
)  # fmt: skip
_PLAIN: Final = NAMES[:8]  # what is called so is a pickle, header or not
OPCODES: Final = 5_000_000  # of all pickles of a file
_STREAMS: Final = 10_000  # pickles behind each other
_IDENTIFIERS: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def looks(view: View) -> bool:
    """Whether it could be a pickle: by its header, or (protocols 0 and 1 have none) by what walking over it meets."""
    return bool(view.head)


def scan(view: View, report: Report) -> None:
    """Name what it reaches; nothing for what is no pickle."""
    position = 0
    name = view.name.lower()
    named = name.endswith(NAMES)
    plain = name.endswith(_PLAIN) or name == "pickle"
    for number in range(_STREAMS):
        if position >= view.source.size if number else not view.head:
            return
        marked = _is_marked(view.source.read(position, 2))
        most = OPCODES - report.opcodes
        walked = walk(view.source, position, most)
        if walked.raw:
            # Another reader than joblib takes for opcodes what joblib takes for an array.
            other = walk(view.source, position, most, raw=False)
            walked.references += other.references
            walked.hidden += other.hidden
            walked.nested += other.nested
            walked.calls += other.calls
            walked.opcodes += other.opcodes
        report.opcodes += walked.opcodes
        sure = marked or number > 0 or plain
        if not _counts(walked, sure):
            if walked.broken and ((marked and number == 0 and named) or walked.bounded):
                report.add("unreadable", f"a pickle that breaks off at byte {walked.end}: {walked.broken}")
                report.pickles += 1
            return
        report.pickles += 1
        tell(walked, report, script=view.script)
        # In TorchScript names are not Python's, which nobody else knows.
        if report.shared.opinion is not None and not view.script:
            report.shared.opinion(view.source, position, min(walked.end, view.source.size), report)
        if not walked.stopped:
            return
        position = walked.end


def tell(walked: Walked, report: Report, *, script: bool = False) -> None:
    """The findings of one pickle."""
    seen: set[tuple[str, str]] = set()
    for module, name, offset in walked.references:
        if (module, name) in seen:
            continue
        seen.add((module, name))
        kind = reach(module, name, script=script)
        path = f"{module}.{name}"[:200]
        if kind == "system":
            report.add("malicious", f"a pickle that reaches for the system: {path}", offset, path)
        elif kind == "code":
            report.add("executes", f"a pickle that runs {path}", offset, path)
    for offset, what in walked.hidden:
        report.add("malicious" if "computed" in what else "executes", f"a pickle that reaches {what}", offset, what)  # fmt: skip
    for offset in walked.built:
        report.add("executes", "a pickle that sets attributes of a class or function", offset)
    if walked.broken and not walked.stopped:
        report.add("unreadable", f"a pickle that breaks off: {walked.broken}", walked.end)
    for offset, data in walked.nested:
        with report.inside(f"byte string at {offset}") as inner:
            scan(View(Bytes(data), "nested.pkl", inner.where, script=script), inner)


def _is_marked(head: bytes) -> bool:
    return len(head) > 1 and head[0] == 0x80 and head[1] in MARKED


def _counts(walked: Walked, sure: bool) -> bool:
    """Whether what was walked over is a pickle that somebody could load, and not text that happens to begin like
    one: it names things that can be imported and calls them, or comes to its end."""
    if sure:
        return walked.stopped or bool(walked.references or walked.hidden)
    plausible = all(
        _IDENTIFIERS.fullmatch(module) and _IDENTIFIERS.fullmatch(name)
        for module, name, _ in walked.references
    )
    if walked.references and plausible:
        # A list of words may name things and come to an end; it calls nothing.
        return walked.calls > 0 or (
            walked.stopped and any(reach(module, name) == "system" for module, name, _ in walked.references)
        )
    return bool(walked.hidden) and walked.stopped
