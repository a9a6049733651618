"""`python -m bench report`: the tables of docs/performance.md, from what is kept in bench/results.

Between `<!-- bench:QUESTION -->` and `<!-- /bench -->` everything is written by this; the rest of the page by people.
"""

import importlib
import re
from pathlib import Path
from typing import Any

from bench.machine import describe
from bench.results import load, verdict_table

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_BLOCK = re.compile(r"(<!-- bench:(\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def block(question: str, result: dict[str, Any] | None) -> str:
    """The Markdown of one question: machine and date, tables, goals with their verdicts; or *not run*."""
    if result is None:
        return f"*Not run* (`python -m bench {question}`).\n"
    module = importlib.import_module(f"bench.{question}")
    plan = result["plan"]
    once = getattr(module, "ONCE", False) or plan["rounds"] == 1
    runs = "one run" if once else f"median of {plan['rounds']} interleaved runs"
    parts = [f"{describe(result['machine'])}; {runs}; the whole question took {result['seconds']:,.0f} s."]
    if (PAGE.parent / "performance" / f"{question}.svg").is_file():
        parts.append(f"![{module.__doc__.splitlines()[0]}](performance/{question}.svg)")
    parts += [table.markdown() for table in module.tables(result)]
    if found := module.verdicts(result):
        parts.append(verdict_table(found).markdown())
    return "\n\n".join(parts) + "\n"


def filled(page: str, known: tuple[str, ...]) -> str:
    """The page with every block written anew. Raises ValueError for a block of no question."""

    def write(match: re.Match[str]) -> str:
        question = match[2]
        if question not in known:
            raise ValueError(f"the page has a block for {question!r}, which is no question of the bench")
        return f"{match[1]}{block(question, load(question))}{match[3]}"

    return _BLOCK.sub(write, page)


def report(known: tuple[str, ...]) -> Path:
    """Write the page. Raises ValueError when a question has no block on it."""
    page = PAGE.read_text()
    asked = {match[2] for match in _BLOCK.finditer(page)}
    if missing := [question for question in known if question not in asked]:
        raise ValueError(f"{PAGE.name} has no block for {', '.join(missing)}")
    PAGE.write_text(filled(page, known))
    return PAGE
