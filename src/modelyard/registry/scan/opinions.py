"""Second and third opinions on pickles: fickling (https://github.com/trailofbits/fickling) and modelscan
(https://github.com/protectai/modelscan), where the extra ``scan`` is installed.

They raise what our own walk says, and never lower it. They read whole pickles into memory, so that one over 16 MiB,
or one with raw arrays of joblib between its opcodes, is left to our own walk; that is noted.
"""

import functools
import importlib.util
import io
import logging
from collections.abc import Callable
from importlib import metadata
from typing import Any, Final

from modelyard.registry.scan.source import Source
from modelyard.registry.scan.view import Report

NAMES: Final = ("fickling", "modelscan")
ABSENT: Final = "it is not installed; pip install '.[scan]' in Modelyard's folder"
_LARGEST: Final = 16 * 1024 * 1024
Opinion = Callable[[Source, int, int, Report], None]


@functools.cache
def version_of(name: str) -> str | None:
    """The release that was installed when it was first asked for; None: none. Reading it takes milliseconds."""
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def load(name: str) -> Opinion:
    """The scanner as a function on one pickle of a source. Raises ImportError."""
    logging.disable(logging.CRITICAL)  # theirs go to where our answers go
    return {"fickling": _fickling, "modelscan": _modelscan}[name]()


def _fickling() -> Opinion:
    from fickling.analysis import Severity, check_safety
    from fickling.fickle import Pickled

    def look(source: Source, start: int, end: int, report: Report) -> None:
        if end - start > _LARGEST:
            report.add("note", "fickling did not look at a pickle of over 16 MiB")
            return
        try:
            told: Any = check_safety(Pickled.load(source.read(start, end - start)))
            severity = told.severity
        except Exception as error:  # noqa: BLE001 - a library on hostile input: whatever it raises, it has not read it
            report.add("note", f"fickling cannot read this pickle: {type(error).__name__}")
            return
        # To it every import from outside of the standard library is unsafe, those of arrays and tensors too.
        if severity > Severity.LIKELY_SAFE:
            why = " ".join(str(told.to_string()).split())[:300]
            level = "malicious" if severity >= Severity.OVERTLY_MALICIOUS else "executes"
            if severity < Severity.LIKELY_OVERTLY_MALICIOUS:
                level = "note"
            report.add(level, f"fickling calls it {severity.name}: {why}", start)

    return look


def _modelscan() -> Opinion:
    import modelscan.modelscan  # first of all: its modules import each other
    from modelscan.model import Model
    from modelscan.settings import DEFAULT_SETTINGS
    from modelscan.tools.picklescanner import scan_pickle_bytes

    _ = modelscan

    def look(source: Source, start: int, end: int, report: Report) -> None:
        if end - start > _LARGEST:
            report.add("note", "modelscan did not look at a pickle of over 16 MiB")
            return
        try:
            data = io.BytesIO(source.read(start, end - start))
            told: Any = scan_pickle_bytes(Model("pickle", data), DEFAULT_SETTINGS, scan_name="pickle")
        except Exception as error:  # noqa: BLE001 - as above
            report.add("note", f"modelscan cannot read this pickle: {type(error).__name__}")
            return
        for issue in told.issues:
            path = f"{issue.details.module}.{issue.details.operator}"
            report.add("executes", f"modelscan calls {path} {issue.severity.name}", start, path)

    return look
