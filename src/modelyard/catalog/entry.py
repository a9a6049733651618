"""One entry of the catalog: a model as its own page, paper and code describe it."""

import re
from typing import Annotated, Any, Literal

import msgspec

from modelyard.core.errors import InvalidInput
from modelyard.core.names import check_name
from modelyard.core.struct import Noun

# Families first by what they are about, then by what they do.
Category = Literal[
    "protein-language-model",
    "protein-structure",
    "protein-design",
    "protein-property",
    "antibody",
    "protein-ligand",
    "docking",
    "small-molecule",
    "genomics",
    "text-embedding",
    "text-classification",
    "token-classification",
    "text-generation",
    "translation",
    "image-classification",
    "image-embedding",
    "object-detection",
    "image-segmentation",
    "speech-recognition",
    "speech",
    "audio",
    "tabular",
    "time-series",
    "files",
]
Framework = Literal[
    "pytorch", "tensorflow", "jax", "onnx", "scikit-learn", "xgboost", "lightgbm", "llama.cpp", "litert", "python", "program",
]  # fmt: skip
Kind = Literal[
    "text", "protein", "dna", "smiles", "structure", "image", "audio", "table", "file", "tokens", "json",
]  # fmt: skip
Strategy = Literal["local", "cpu", "gpu", "serverless", "gpu-pool", "batch", "cached"]
Positive = Annotated[int, msgspec.Meta(gt=0)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]

_SPDX = re.compile(r"[A-Za-z0-9.+-]+( (OR|AND|WITH) [A-Za-z0-9.+-]+)*|LicenseRef-[A-Za-z0-9.-]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FACTS = ("source", "licence", "parameters", "context", "disk", "memory", "gpu", "requirements")
_MAY_BE_SOURCED = (*_FACTS, "paper")  # a paper's own address is its source


class Source(Noun):
    """Where the weights come from: exactly one of ``hub`` (a repository of the Hugging Face hub), ``package`` (a
    requirement whose package carries them), ``url`` (with ``sha256`` where it is known) and ``git``.
    ``revision`` is a commit or a tag, where one is pinned; ``path`` is where they lie in it. Of a package whose
    own code runs the model, ``folders`` are what is taken, under their names, out of it and those in ``also``; of
    one that has no wheel, out of its source (``sdist``), which is unpacked and not built."""

    hub: str | None = None
    package: str | None = None
    url: str | None = None
    git: str | None = None
    revision: str | None = None
    path: str | None = None
    sha256: str | None = None
    folders: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    sdist: bool = False


class Licence(Noun):
    """``spdx``: the identifier (``LicenseRef-…`` for one that has none); whether commercial use is allowed."""

    spdx: str
    commercial: bool


class Field(Noun):
    """One input or output, by name."""

    name: str
    kind: Kind
    description: str = ""


class Entry(Noun):
    """A model that is known. Sizes are bytes, ``context`` is tokens or residues. ``memory`` is by precision
    (fp32, fp16, bf16, int8), ``example`` one record, ``expected`` what it gives where that was run. ``recipe``
    is the one of :mod:`modelyard.catalog.recipe` that runs it, of a function or a program. ``timeout`` is how many
    seconds a call may take, of a model that needs longer than an endpoint's default.

    ``facts`` says where it was read, an URL, for each of source, licence, parameters, context, disk, memory,
    requirements, and a GPU that is required.
    """

    name: str
    title: str
    category: Category
    description: str
    source: Source
    licence: Licence
    framework: Framework
    adapter: str
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    gpu: Literal["none", "optional", "required"]
    strategy: Strategy
    facts: dict[str, str]
    timeout: Seconds | None = None
    recipe: str | None = None
    homepage: str = ""
    paper: str | None = None
    requirements: tuple[str, ...] = ()
    python: str | None = None
    parameters: Positive | None = None
    context: Positive | None = None
    disk: Positive | None = None
    memory: dict[Literal["fp32", "fp16", "bf16", "int8", "int4"], Positive] = {}
    example: dict[str, Any] | None = None
    expected: dict[str, Any] | None = None
    options: dict[str, Any] = {}
    tags: tuple[str, ...] = ()


def is_runnable(entry: Entry, adapters: frozenset[str]) -> bool:
    """Whether one of ``adapters`` runs it: a function and a program only by a recipe, which brings the code."""
    return entry.recipe is not None or (entry.adapter in adapters - {"function", "command"})


def check_entry(entry: Entry) -> None:
    """Raise InvalidInput, naming the field, for what no true entry says."""
    check_name(entry.name, field="name")
    source = entry.source
    if sum(each is not None for each in (source.hub, source.package, source.url, source.git)) != 1:
        raise InvalidInput("A source is one of hub, package, url and git.", field="source")
    if source.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", source.hub):
        raise InvalidInput(f"{source.hub!r} is no repository of the hub: owner/name.", field="source.hub")
    if source.sha256 is not None and not _SHA256.fullmatch(source.sha256):
        raise InvalidInput("A checksum is 64 hexadecimal digits.", field="source.sha256")
    of_package = source.folders or source.also or source.sdist
    if of_package and (source.package is None or source.path is not None or not source.folders):
        raise InvalidInput("Folders are taken out of a package, instead of a path.", field="source.folders")
    if not all(re.fullmatch(r"\w+", folder) for folder in source.folders):
        raise InvalidInput("A folder is one name, as a Python package has it.", field="source.folders")
    if entry.recipe is not None:
        check_name(entry.recipe, field="recipe")
        if entry.adapter not in ("function", "command"):
            raise InvalidInput("A recipe is a function's or a command's.", field="recipe")
    if not _SPDX.fullmatch(entry.licence.spdx):
        raise InvalidInput(f"{entry.licence.spdx!r} is no SPDX identifier.", field="licence.spdx")
    for url, field in ((source.url, "source.url"), (source.git, "source.git"), (entry.paper, "paper")):
        if url is not None:
            _check_url(url, field)
    for fact, url in entry.facts.items():
        if fact not in _MAY_BE_SOURCED:
            raise InvalidInput(
                f"{fact!r} is no fact that has a source: {', '.join(_MAY_BE_SOURCED)}.", field="facts"
            )
        _check_url(url, f"facts.{fact}")
    for fact in _FACTS:
        said = getattr(entry, fact)
        if said not in (None, (), {}, "none", "optional") and fact not in entry.facts:
            raise InvalidInput(f"Say where {fact!r} was read.", field=f"facts.{fact}")
    if not entry.inputs or not entry.outputs:
        raise InvalidInput("A model takes and gives something.", field="inputs")
    if entry.example is not None:
        unknown = entry.example.keys() - {each.name for each in entry.inputs} - entry.options.keys()
        if unknown:
            raise InvalidInput(f"The example has no inputs {sorted(unknown)}.", field="example")


def _check_url(url: str, field: str) -> None:
    if not re.fullmatch(r"https://[^\s]+", url):
        raise InvalidInput(f"{url!r} is no https address.", field=field)
