"""Models that come as a Python package: what they are is said by their adapter's file, and read here.

An adapter of ``modelyard_executor.adapters.families`` describes itself in ``FAMILY``, a dictionary of
literals; see :mod:`modelyard_executor.adapters.family`. It is read as syntax: nothing of it is run.
"""

import ast
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files as resources
from importlib.resources.abc import Traversable

import msgspec

from modelyard.analyze.footprint import estimate
from modelyard.analyze.plain import plain
from modelyard.analyze.small_json import LIMIT, read_object
from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import Internal, RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.signature import Signature
from modelyard.core.struct import Noun

_FOLDER = "adapters/families"


class Described(Noun):
    """``FAMILY`` of an adapter. ``files`` are the paths that tell it (``*``: any part of a name), with
    ``architecture`` where config.json of transformers has to name one; ``holds`` are other families whose files are
    among them."""

    format: str
    files: tuple[str, ...]
    requirements: tuple[str, ...]
    signature: Signature
    example: dict[str, object] | None = None
    holds: tuple[str, ...] = ()
    architecture: str | None = None


class Family:
    """One of them, as a format."""

    def __init__(self, file: Traversable) -> None:
        self.NAME = file.name.removesuffix(".py")
        self._file = file

    @property
    def described(self) -> Described:
        """What its file says. Raises Internal for one that says nothing."""
        return _described(self._file)

    def detect(self, files: Files) -> bool:
        """Whether all paths that tell it are there, and not as a part of another family's files. One without
        such paths is only chosen by model.yaml."""
        if not self.described.files or self._missing(files):
            return False
        return not any(self.NAME in each.described.holds and each.detect(files) for each in families())

    def _missing(self, files: Files) -> list[str]:
        """What tells it and is not there: paths, or the architecture."""
        described = self.described
        missing = [pattern for pattern in described.files if not any(map(_pattern(pattern), files.paths))]
        if not missing and described.architecture is not None and not _is(described.architecture, files):
            missing.append(f"{described.architecture} among the architectures of config.json")
        return missing

    def analyze(self, files: Files) -> Analysis:
        """Describe the files. Raises RejectedContent when it was asked for and what tells it is missing."""
        described = self.described
        if missing := self._missing(files):
            raise RejectedContent(
                f"The files of the adapter {self.NAME!r} are {', '.join(described.files)}; there is no {missing[0]} here.",
                field="model.yaml:adapter",
            )
        size = sum(files.size(path) for path in files.paths)
        torch = any(line.startswith("torch") for line in described.requirements)
        return Analysis(
            format=described.format,
            adapter=self.NAME,
            signature=described.signature,
            requirements=described.requirements,
            options={"signature": plain(described.signature)},
            example=described.example,
            size_bytes=size,
            memory_bytes=estimate("torch" if torch else "function", size),
            executes="code",
        )


def _is(architecture: str, files: Files) -> bool:
    """Whether config.json names it. A file that is none is left to the formats that read it."""
    if b'"%s"' % architecture.encode() not in files.read("config.json", 0, LIMIT):
        return False
    try:
        listed = read_object(files, "config.json").get("architectures")
    except RejectedContent:
        return False
    return isinstance(listed, list) and architecture in listed


def _pattern(path: str) -> Callable[[str], object]:
    return re.compile(re.escape(path).replace(r"\*", "[^/]*")).fullmatch


def names() -> frozenset[str]:
    """The adapters of families."""
    return frozenset(family.NAME for family in families())


@cache
def families() -> tuple[Family, ...]:
    """All of them, by name."""
    folder = resources("modelyard_executor").joinpath(_FOLDER)
    found = [file for file in folder.iterdir() if file.name.endswith(".py") and file.name[0] != "_"]
    return tuple(map(Family, sorted(found, key=lambda file: file.name)))


@cache
def _described(file: Traversable) -> Described:
    """Raises Internal, naming file and line, for what the author of an adapter has to mend."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except SyntaxError as error:
        raise Internal(f"{file.name}, line {error.lineno}: {error.msg}.") from error
    found = {
        ast.unparse(target): statement
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
    }
    if "COST" in found:
        raise Internal(f"{file.name}, line {found['COST'].lineno}: COST belongs into the class Adapter.")
    if "FAMILY" not in found:
        raise Internal(f"{file.name} has no FAMILY.")
    try:
        described = msgspec.convert(ast.literal_eval(found["FAMILY"].value), Described)
    except msgspec.ValidationError as error:
        raise Internal(f"FAMILY of {file.name} is wrong: {error}") from error
    except ValueError as error:
        raise Internal(
            f"FAMILY of {file.name} holds what is no literal; it is read and not run."
        ) from error
    _check(described, file.name)
    return described


def _check(described: Described, name: str) -> None:
    """What types alone do not say: the data types, and an example that the signature takes."""
    signature = described.signature
    for spec in (*signature.inputs, *signature.outputs):
        if spec.datatype not in DATATYPES:
            raise Internal(
                f"FAMILY of {name} is wrong: {spec.name!r} has the datatype {spec.datatype!r}; "
                f"known: {', '.join(DATATYPES)}."
            )
    takes = {each.name for each in (*signature.inputs, *signature.parameters)}
    if unknown := (described.example or {}).keys() - takes:
        raise Internal(
            f"FAMILY of {name} is wrong: its example has {sorted(unknown)}, which it does not take."
        )
