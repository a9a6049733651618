"""A version as search finds it, and what may be searched by."""

import re
from typing import Final, Literal, get_args

from modelyard.core.errors import InvalidInput
from modelyard.core.figure import Figure, parse_bound
from modelyard.core.model import Analysis, Mark
from modelyard.core.struct import Noun

Status = Literal["usable", "deployed", "deprecated", "quarantined", "deleted"]
Sort = Literal[
    "newest", "oldest", "name", "size", "-size", "parameters", "-parameters", "metric", "-metric"
]
BY_METRIC: Final = ("metric", "-metric")
SORTS: tuple[Sort, ...] = get_args(Sort)
MOST = 200  # listings of a page

_PRECISIONS = {
    "f64": "float64", "f32": "float32", "fp32": "float32", "f16": "float16", "fp16": "float16", "bf16": "bfloat16",
    "i8": "int8", "u8": "uint8", "i4": "int4", "u4": "uint4",
}  # fmt: skip


class Listing(Noun):
    """One version. ``size`` is the bytes of all files; ``precision`` the element type of most weights, ``parameters``
    their count, None where the files do not tell; ``figures`` are those that were asked for. ``endpoints`` want or serve it; ``quarantine`` is why it may not be
    deployed."""

    model: str
    number: int
    digest: str
    created: float
    format: str
    adapter: str
    size: int
    title: str = ""
    parameters: int | None = None
    precision: str | None = None
    architecture: str | None = None
    task: str | None = None
    category: str | None = None
    licence: str | None = None
    commercial: bool | None = None
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    latest: bool = False
    deprecated: Mark | None = None
    deleted: Mark | None = None
    quarantine: str | None = None


class Hint(Noun):
    """A value that was searched for and that no version has; ``there``: those like it that some have, or else the
    first ones."""

    field: str
    value: str
    there: tuple[str, ...]


class Obstacle(Noun):
    """Something that was searched for without which something would be found; of the field ``all_versions``: among the
    older versions there is something."""

    field: str
    value: str


class Page(Noun):
    """Some listings; ``next`` is the cursor of those that follow (None: there are none). ``hints`` come with a first
    page that is empty; when there are none, ``obstacles``: what each alone keeps everything out."""

    versions: tuple[Listing, ...]
    next: str | None = None
    hints: tuple[Hint, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


class Wanted(Noun):
    """What is searched for; None and empty ask for nothing. All that is asked for must hold.

    ``name`` is a model's, or the beginning of one with ``*`` behind it; every word of ``text`` must begin a word of the
    name, card, README or facts; ``metrics`` are bounds of measured figures (``auc>=0.9``, ``accuracy[mnli]>0.8``, or
    ``auc``: it has one), and the first of them is what the sorts *metric* and *-metric* go by. Sizes are bytes, both bounds count as within; a version whose parameters are not known is within
    no bounds. Without ``all_versions`` only the latest of each model that is not deleted is found; what is deleted
    only with the status *deleted*. Raises InvalidInput for ``tags`` or ``metrics`` that are one text, for what is no bound,
    and for an order by figures without any.
    """

    name: str | None = None
    text: str | None = None
    task: str | None = None
    category: str | None = None
    architecture: str | None = None
    licence: str | None = None
    commercial: bool | None = None
    format: str | None = None
    adapter: str | None = None
    precision: str | None = None
    tags: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    alias: str | None = None
    min_size: int | None = None
    max_size: int | None = None
    min_parameters: int | None = None
    max_parameters: int | None = None
    status: Status | None = None
    project: str | None = None
    all_versions: bool = False
    sort: Sort = "newest"

    def __post_init__(self) -> None:
        if isinstance(self.tags, str):  # its letters would be searched for, and nothing found
            raise InvalidInput(f"tags is a list of words: ({self.tags[:80]!r},).", field="tags")
        if isinstance(self.metrics, str):
            raise InvalidInput(f"metrics is a list of bounds: ({self.metrics[:80]!r},).", field="metrics")
        for bound in self.metrics:
            parse_bound(bound)
        if self.sort in BY_METRIC and not self.metrics:
            raise InvalidInput(
                "Say which figure to sort by: metric=auc, or metric=auc>=0.9.", field="metric"
            )


class Facts(Noun):
    """What of an analysis can be searched by."""

    format: str
    adapter: str
    architecture: str | None
    precision: str | None
    parameters: int | None
    licence: str | None
    imports: tuple[str, ...]


def facts_of(analysis: Analysis) -> Facts:
    """What ``analysis`` says; of several architectures the first."""
    told = analysis.details
    return Facts(
        format=analysis.format,
        adapter=analysis.adapter,
        architecture=told.get("architecture", "").split(",")[0].strip()[:200]
        or told.get("estimator")
        or None,
        precision=precision_of(analysis.precision or told.get("precision", "")),
        parameters=analysis.parameters,
        licence=None if analysis.licence is None else analysis.licence.spdx,
        imports=analysis.imports,
    )


def precision_of(told: str) -> str | None:
    """``float32`` for ``F32``, ``fp32`` and ``float32 99%, int64 1%``; None for what says nothing."""
    first = re.split(r"[\s,]", told.strip().lower(), maxsplit=1)[0]
    if first in ("", "no", "type", "unknown"):
        return None
    return _PRECISIONS.get(first, first)[:32]
