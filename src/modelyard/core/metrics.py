"""Tables of figures, as cards have them."""

import math
from collections.abc import Mapping
from typing import Final

from modelyard.core.errors import InvalidInput
from modelyard.core.struct import Noun

MAX_TABLES: Final = 50  # of a card, and of a version


class MetricsTable(Noun):
    """Figures that somebody measured: ``rows`` have a cell for each of ``columns``; ``source`` says where they are from, or
    of which version they are (``fraud/3``)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...] = ()
    source: str = ""


def figures_table(figures: Mapping[str, object]) -> MetricsTable:
    """Figures by name as a table. Raises InvalidInput for what is no number."""
    rows: list[tuple[str, float]] = []
    for name, value in figures.items():
        try:
            rows.append((str(name), float(value)))  # pyright: ignore[reportArgumentType]
            if not math.isfinite(rows[-1][1]):
                raise ValueError
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"The figure {str(name)[:80]!r} is {str(value)[:80]!r}, which is no number.",
                field="metrics",
            ) from error
    return MetricsTable(title="Metrics", columns=("metric", "value"), rows=tuple(rows))


def check_table(table: MetricsTable, field: str) -> None:
    """Raise InvalidInput, naming ``field``, for what no card can have."""
    if not table.columns or len(table.columns) > 30 or len(table.rows) > 500:
        raise InvalidInput("A table has 1 to 30 columns and 500 rows at most.", field=field)
    if any(len(text) > 500 for text in (table.title, table.source, *table.columns)):
        raise InvalidInput(
            "A title, a source and a column's name have 500 characters at most.", field=field
        )
    for index, row in enumerate(table.rows):
        if len(row) != len(table.columns):
            raise InvalidInput(
                f"The row has {len(row)} cells, and there are {len(table.columns)} columns.",
                field=f"{field}.rows[{index}]",
            )
        for cell in row:
            if isinstance(cell, float) and not math.isfinite(cell):
                raise InvalidInput("A figure is a finite number.", field=f"{field}.rows[{index}]")
            if isinstance(cell, str) and len(cell) > 500:
                raise InvalidInput("A cell has 500 characters at most.", field=f"{field}.rows[{index}]")
