"""Model and Version, and what analysis learnt about a version without running it."""

from typing import Any, Literal

from modelyard.core.manifest import Manifest
from modelyard.core.signature import Signature
from modelyard.core.struct import Noun


class Interval(Noun):
    """An estimate with its bounds, in the unit that the field's name says."""

    low: int
    high: int


class Flops(Noun):
    """Multiplications and additions that one ``unit`` of input costs, counted from the weights; ``how`` says what is
    in that and what is not."""

    value: int
    unit: Literal["row", "token", "residue"]
    how: str


class Licence(Noun):
    """``spdx`` is an SPDX expression (``LicenseRef-…`` for what has no identifier). ``place`` is where it was read:
    a path, perhaps with a key. ``likeness`` is how near the text of a licence file is to SPDX's (1: the same); None
    where the identifier itself was stated."""

    spdx: str
    place: str
    likeness: float | None = None


# no: what serves it computes on the processor · can: on either · should: it is large for one without · needs: only there
GpuNeed = Literal["no", "can", "should", "needs"]


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
    ``precision`` is the element type of most of its weights, ``precisions`` how many numbers are of each.
    ``context_length`` is how many tokens (residues) it reads at once. ``runtime`` is what it needs of the programs
    that run it, or was made by, by their names (opset, version). ``memory_bytes`` is estimated, ``memory_measured`` the most
    that a replica was seen to take. ``imports`` are the packages that a function's code imports.
    ``gpu_because`` says where the need of a GPU was seen. What is None or empty is not known.
    ``details`` holds facts for people (producer, layers), by label.
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
    precision: str | None = None
    precisions: dict[str, int] = {}
    context_length: int | None = None
    runtime: dict[str, str] = {}
    flops: Flops | None = None
    memory_bytes: Interval | None = None
    memory_measured: int | None = None
    imports: tuple[str, ...] = ()
    licence: Licence | None = None
    gpu: GpuNeed = "no"
    gpu_because: str = ""
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


Relation = Literal["variant", "fine_tune", "re_export", "distillation", "derived"]


class Mark(Noun):
    """Something that was said of a version: when (seconds since the epoch), by whom, why. ``until`` is when what it
    brings about cannot be taken back any more."""

    time: float
    who: str
    why: str = ""
    until: float | None = None


class Parent(Noun):
    """The version that another was made from, how, and what that changed: ``tradeoff`` is the measured figures of both,
    by name (None: not measured)."""

    model: str
    number: int
    relation: Relation
    tradeoff: dict[str, Any] | None = None


class Trust(Noun):
    """Somebody trusts a version that executes code: who, and why as he said it."""

    who: str
    because: str = ""


class Version(Noun):
    """One version of a model. Its files and what analysis learnt of them never change; ``created`` is seconds since the
    epoch (UTC). The rest is what was said of it since: who ``trust``s it, ``aliases`` that name it, that it is
    ``deprecated`` (do not begin to use it) or ``deleted`` (gone after its mark's ``until``), and the ``parent`` that
    it was made from. ``quarantine`` says why it may be looked at and not deployed; None: it may."""

    model: str
    number: int
    digest: str
    manifest: Manifest
    analysis: Analysis
    trusted: bool = False
    created: float = 0.0
    trust: Trust | None = None
    quarantine: str | None = None
    aliases: tuple[str, ...] = ()
    deprecated: Mark | None = None
    deleted: Mark | None = None
    parent: Parent | None = None


class Model(Noun):
    """A named line of versions: those that are not deleted. ``latest`` is 0 when all of them are."""

    name: str
    created: float
    latest: int
    versions: tuple[int, ...] = ()
    project: str = "default"
