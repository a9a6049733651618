"""The interpreters of this machine beside the one that the tests run on."""

import pytest
from packaging.version import Version

from modelyard.package.interpreter import Interpreter, installed, running
from modelyard.package.sources import read_sources


def another(implementation: str | None = None, *, below: str = "4") -> Interpreter:
    """One of another minor version than the tests' own, older than ``below``; skips where there is none."""
    ours = running().version.split(".")[:2]
    for each in installed(read_sources()):
        fits = implementation in (None, each.implementation) and Version(each.version) < Version(below)
        if fits and each.version.split(".")[:2] != ours:
            return each
    pytest.skip(
        f"this machine has no {implementation or 'Python'} beside {running().name} (apt-get install pypy3)"
    )


def minor(interpreter: Interpreter) -> str:
    """How a model asks for it: ``3.9``."""
    return ".".join(interpreter.version.split(".")[:2])
