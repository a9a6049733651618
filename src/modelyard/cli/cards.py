"""``modelyard models card``: what people should know of a model."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import typer

from modelyard.cli.common import client
from modelyard.cli.output import print_facts, print_json, print_table
from modelyard.core.card import Card, CardAnswer
from modelyard.core.metrics import figures_table
from modelyard.core.reference import parse_reference


def run(
    name: str,
    given: dict[str, Any],
    file: Path | None,
    metrics: Path | None,
    clear: Sequence[str],
    because: str,
    *,
    as_json: bool,
) -> None:
    """Set what is given, then show the card."""
    empty = {field: getattr(Card(), field) for field in Card.__struct_fields__}
    for field in clear:
        if field not in empty:
            raise typer.BadParameter(f"A card has {', '.join(empty)}.", param_hint="--clear")
        given[field] = empty[field]
    if file is not None:
        given["text"] = sys.stdin.read() if str(file) == "-" else _read(file, "--file")
    if metrics is not None:
        try:
            told = json.loads(_read(metrics, "--metrics"))
            given["metrics"] = (
                [msgspec.to_builtins(figures_table(told))] if isinstance(told, dict) else told
            )
        except ValueError as error:
            raise typer.BadParameter(f"{metrics} is no JSON: {error}", param_hint="--metrics") from error
        if not _are_tables(given["metrics"]):
            raise typer.BadParameter(
                f'{metrics} has neither an object of figures, {{"accuracy": 0.93}}, nor a list of tables, '
                '[{"title": …, "columns": […], "rows": [[…]]}].',
                param_hint="--metrics",
            )
    with client() as platform:
        if given:
            reference = parse_reference(name)
            if metrics is not None and reference.which is not None:
                of = platform.registry.card(name).version
                given["metrics"] = _sourced(given["metrics"], f"{reference.model}/{of}")
            platform.registry.change_card(reference.model, because=because, **given)
        answer = platform.registry.card(name)
    if as_json:
        print_json(answer)
    else:
        print_card(answer)


def _are_tables(told: Any) -> bool:
    """Whether it has the form of tables; what is wrong within one of them the platform says."""
    return isinstance(told, list) and all(
        isinstance(each, dict) and {"title", "columns"} <= each.keys() for each in told
    )


def _sourced(tables: list[dict[str, Any]], version: str) -> list[dict[str, Any]]:
    """Tables that name no source are of the version that they are set of."""
    return [{**each, "source": each.get("source") or version} for each in tables]


def print_card(answer: CardAnswer) -> None:
    """For people."""
    card = answer.card
    use = {True: " (commercial use allowed)", False: " (no commercial use)", None: ""}[card.commercial]
    facts = [
        ("model", f"{answer.model} version {answer.version}"),
        ("title", card.title),
        ("summary", card.summary),
        ("task", card.task or ""),
        ("category", card.category or ""),
        ("architecture", card.architecture or ""),
        ("licence", f"{card.licence or 'not known'}{use}" if card.licence or use else ""),
        ("paper", card.paper or ""),
        ("homepage", card.homepage or ""),
        ("tags", ", ".join(card.tags)),
    ]
    print_facts([(label, text) for label, text in facts if text])
    for table in card.metrics:
        print(f"\n{table.title}" + (f" ({table.source})" if table.source else ""))
        print_table(
            table.columns, [["" if cell is None else str(cell) for cell in row] for row in table.rows]
        )
    if card.text is None:
        return
    print()
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(card.text))
    else:
        print(card.text)


def _read(file: Path, option: str) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}", param_hint=option) from error
