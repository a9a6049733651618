"""What a question answered: JSON in `bench/results`, tables to read, goals with their verdicts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.plan import Plan

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Table:
    """Text cells under a header. The first column is left-aligned, the others right."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def text(self) -> str:
        """For a terminal."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]

        def line(cells: tuple[str, ...]) -> str:
            rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
            return "  ".join([cells[0].ljust(widths[0]), *rest]).rstrip()

        return "\n".join([self.title, *(line(cells) for cells in lines)])

    def markdown(self) -> str:
        """For a page."""
        rule = "|---" + "|---:" * (len(self.header) - 1) + "|"
        body = [f"| {' | '.join(cells)} |" for cells in self.rows]
        head = [f"**{self.title}**", ""] if self.title else []
        return "\n".join([*head, f"| {' | '.join(self.header)} |", rule, *body])


@dataclass(frozen=True)
class Verdict:
    """A goal beside what was measured; ``met`` is None where nothing was measured that could tell."""

    goal: str
    measured: str
    met: bool | None

    def row(self) -> tuple[str, str, str]:
        return self.goal, self.measured, {True: "met", False: "not met", None: "not measured"}[self.met]


def at_least(goal: str, value: float | None, bound: float, unit: str = "", digits: int = 2) -> Verdict:
    """Met when ``value`` ≥ ``bound``."""
    if value is None:
        return Verdict(goal, "–", None)
    return Verdict(goal, f"{value:,.{digits}f}{unit}", value >= bound)


def at_most(goal: str, value: float | None, bound: float, unit: str = "", digits: int = 2) -> Verdict:
    """Met when ``value`` ≤ ``bound``."""
    if value is None:
        return Verdict(goal, "–", None)
    return Verdict(goal, f"{value:,.{digits}f}{unit}", value <= bound)


def verdict_table(verdicts: list[Verdict]) -> Table:
    return Table("", ("goal", "measured", "verdict"), [verdict.row() for verdict in verdicts])


def envelope(plan: Plan) -> dict[str, Any]:
    """What every result says beside its numbers; taken before the measuring starts."""
    return {
        "machine": machine(),
        "plan": {"quick": plan.quick, "rounds": plan.repeats, "scale": plan.scale},
    }


def save(question: str, result: dict[str, Any]) -> Path:
    """Write the result; a quick run goes beside the real ones, where nothing reads it for the docs."""
    folder = FOLDER / "quick" if result["plan"]["quick"] else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{question}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path


def load(question: str) -> dict[str, Any] | None:
    """The kept result, or None when the question was never measured in full."""
    path = FOLDER / f"{question}.json"
    return json.loads(path.read_text()) if path.is_file() else None
