"""The formats that are known, and the rule that picks one for a set of files."""

from typing import Protocol

from modelyard.analyze import detect as content
from modelyard.analyze import onnx
from modelyard.core.files import Files
from modelyard.core.model import Analysis


class Format(Protocol):
    """What a module of a format offers."""

    NAME: str

    def detect(self, files: Files) -> bool: ...

    def analyze(self, files: Files) -> Analysis: ...


FORMATS: tuple[Format, ...] = (onnx,)


def pick(files: Files) -> Format:
    for form in FORMATS:
        if form.detect(files):
            return form
    raise content.unsupported(files)
