"""Model and Version, and what analysis learnt about a version without running it."""

from typing import Literal

from modelyard.core.manifest import Manifest
from modelyard.core.signature import Signature
from modelyard.core.struct import Noun


class Interval(Noun):
    """An estimate with its bounds, in the unit that the field's name says."""

    low: int
    high: int


class Analysis(Noun):
    """What is this? The answer of the ``analyze`` room.

    ``format`` is what the files are, ``adapter`` the code that serves them. ``signature`` is None
    when only loading can tell it (a pickle): then the executor says. ``requirements`` are PEP 508
    lines of what the model needs *beyond* nothing: the adapter's least is included; ``declared`` are those of
    them that the model's author wrote. ``python`` are the versions of Python that it runs on (see
    ``core/python.py``; None: any), ``system_packages`` what it needs of the machine. ``executes``
    says whether loading runs code from the model's files (a pickle, ``model.py``), and ``because`` in a sentence
    what that would be, where the format alone does not say it. ``network``: its author
    says that it needs the network.
    ``details`` holds facts for people (opset, producer, layers), by label.
    """

    format: str
    adapter: str
    signature: Signature | None = None
    requirements: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    python: str | None = None
    system_packages: tuple[str, ...] = ()
    options: dict[str, object] = {}
    example: dict[str, object] | None = None
    parameters: int | None = None
    size_bytes: int = 0
    memory_bytes: Interval | None = None
    executes: Literal["no", "pickle", "code"] = "no"
    because: str = ""
    network: bool = False
    details: dict[str, str] = {}
    warnings: tuple[str, ...] = ()

    @property
    def origins(self) -> dict[str, str]:
        """Who asks for each of the requirements, for people."""
        return {
            line: "the model" if line in self.declared else f"the adapter {self.adapter!r}"
            for line in self.requirements
        }


class Trust(Noun):
    """Somebody trusts a version that executes code: who, and why as he said it."""

    who: str
    because: str = ""


class Version(Noun):
    """One immutable version of a model. ``created`` is seconds since the epoch (UTC). ``quarantine`` says why it
    may be looked at and not deployed; None: it may."""

    model: str
    number: int
    digest: str
    manifest: Manifest
    analysis: Analysis
    trusted: bool = False
    created: float = 0.0
    trust: Trust | None = None
    quarantine: str | None = None


class Model(Noun):
    """A named line of versions."""

    name: str
    created: float
    latest: int
    versions: tuple[int, ...] = ()
