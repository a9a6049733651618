"""Figures: the numbers in tables of metrics, and what is asked of them in a search."""

import functools
import math
import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, cast

from modelyard.core.errors import InvalidInput
from modelyard.core.metrics import MetricsTable
from modelyard.core.struct import Noun

Comparison = Literal[">=", "<=", ">", "<", "="]
MOST: Final = 1000  # figures of a version that can be searched by, the first
_LONGEST: Final = 100
# Heads of a column in which each row names what was measured, has the number, and says on what.
_NAMED: Final = ("metric", "measure", "score name")
_VALUES: Final = ("value", "score", "result")
_DATA: Final = ("data", "dataset", "data set", "benchmark", "task")
COMPARED: Final[Mapping[Comparison, Callable[[Any, float], Any]]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "=": operator.eq,
}  # fmt: skip
_BOUND: Final = re.compile(
    r"\s*([^<>=\[\]]+?)\s*(?:\[\s*([^<>=\[\]]+?)\s*\]\s*)?(?:(>=|<=|==|=|>|<)\s*([^\s<>=]+)\s*)?"
)


class Figure(Noun):
    """A number that was measured: ``name`` is what, ``data`` on what (empty: not told)."""

    name: str
    value: float
    data: str = ""

    @property
    def told(self) -> str:
        """``accuracy``, or ``accuracy[mnli]``."""
        return f"{self.name}[{self.data}]" if self.data else self.name


class Bound(Noun):
    """What is asked of one figure. ``name`` and ``data`` (None: any) are keys; without ``comparison`` it is enough that
    there is such a figure."""

    name: str
    data: str | None = None
    comparison: Comparison | None = None
    value: float = 0.0

    @property
    def named(self) -> str:
        """``accuracy``, or ``accuracy[mnli]``."""
        return self.name if self.data is None else f"{self.name}[{self.data}]"

    @property
    def told(self) -> str:
        """As :func:`parse_bound` reads it."""
        return self.named if self.comparison is None else f"{self.named}{self.comparison}{self.value!r}"

    def holds(self, name: str, data: str, value: float) -> bool:
        """Whether the figure of these keys is within the bound."""
        return (
            name == self.name
            and self.data in (None, data)
            and (self.comparison is None or COMPARED[self.comparison](value, self.value))
        )


def figure_key(text: str) -> str:
    """How figures are compared by name: ``roc_auc`` for ``ROC AUC``, ``roc-auc`` and ``Roc_AUC``. Empty for what has no
    letter and no digit."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[^\w.+%@/]+", "_", plain).strip("_")[:_LONGEST].strip("_")


def figures_of(tables: Iterable[MetricsTable]) -> tuple[Figure, ...]:
    """The numbers of ``tables``. Of two of the same name and data the first counts.

    A table of two columns has a figure in each row: its name and its value (unless the first is headed *data*). Of one with
    more columns, when one is headed *metric* and another *value*, each row is a figure too, on the *data* that a third one
    names; else each number is one, named by the head of its column, on what the row's first cell says.
    """
    found: dict[tuple[str, str], Figure] = {}
    for table in tables:
        for figure in _numbers(table):
            key = figure_key(figure.name), figure_key(figure.data)
            if key[0]:
                found.setdefault(key, figure)
            if len(found) == MOST:
                return tuple(found.values())
    return tuple(found.values())


def tradeoff_figures(tradeoff: Mapping[str, Any] | None) -> tuple[Figure, ...]:
    """What the measured figures of a version and of the one that it was made from (``{"auc": [0.93, 0.928]}``) say of
    the version itself: the second one of a pair, or the only one."""
    found: list[Figure] = []
    for name, told in (tradeoff or {}).items():
        pair = cast("list[Any]", told) if isinstance(told, list) else [told]
        value = _number(pair[-1]) if len(pair) in (1, 2) else None
        if value is not None and figure_key(name):
            found.append(Figure(name=name, value=value))
    return tuple(found)


@functools.lru_cache(1024)
def parse_bound(text: str) -> Bound:
    """Read ``auc>=0.9``, ``latency_ms < 5``, ``accuracy[mnli]>=0.8`` or ``auc`` (it has one). Raises InvalidInput."""
    match = _BOUND.fullmatch(text) if len(text) <= 500 else None
    name = "" if match is None else figure_key(match[1])
    data = None if match is None or match[2] is None else figure_key(match[2])
    if match is None or not name or data == "":
        raise InvalidInput(
            f"{text[:80]!r} asks nothing of a figure; write 'auc>=0.9', 'accuracy[mnli]>0.8', or 'auc' for those that "
            "have one.",
            field="metric",
        )
    if match[3] is None:
        return Bound(name=name, data=data)
    try:
        value = float(match[4])
        if not math.isfinite(value):
            raise ValueError
    except ValueError as error:
        raise InvalidInput(
            f"{match[4][:80]!r} is no number to compare {name} with; write {name}{match[3]}0.9.",
            field="metric",
        ) from error
    comparison: Comparison = "=" if match[3] == "==" else match[3]  # type: ignore[assignment]
    return Bound(name=name, data=data, comparison=comparison, value=value)


def _numbers(table: MetricsTable) -> Iterator[Figure]:
    heads = [column.strip().lower() for column in table.columns]
    if len(heads) == 2 and (heads[0] not in _DATA or heads[1] in _VALUES):
        named, value, data = 0, 1, None
    else:
        named, value, data = (_first(heads, among) for among in (_NAMED, _VALUES, _DATA))
    for row in table.rows:
        if named is not None and value is not None:
            cells = [(str(row[named] or ""), row[value])]
            on = "" if data is None else str(row[data] or "")
        else:
            cells = list(zip(table.columns, row, strict=True))
            on = row[0] if isinstance(row[0], str) else ""
        for name, cell in cells:
            if (number := _number(cell)) is not None:
                yield Figure(name=name, value=number, data=on)


def _first(heads: list[str], among: tuple[str, ...]) -> int | None:
    return next((heads.index(head) for head in among if head in heads), None)


def _number(told: object) -> float | None:
    """What a figure can be; an integer may be too large for one."""
    if not isinstance(told, int | float) or isinstance(told, bool):
        return None
    try:
        number = float(told)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
