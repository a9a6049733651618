"""What a command prints: a table for people, JSON for programs, plain lines where there is no terminal."""

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.core.errors import ModelyardError


def format_date(moment: float, *, exact: bool = False) -> str:
    """Seconds since the epoch as the reader's own clock shows them, to the minute; ``exact``: to the second."""
    form = "%Y-%m-%d %H:%M:%S" if exact else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(moment))


def print_json(value: Any) -> None:
    """One JSON document on stdout. Nouns are welcome."""
    import msgspec

    text = json.dumps(
        msgspec.to_builtins(value), ensure_ascii=False, indent=2 if sys.stdout.isatty() else None
    )
    print(text)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
) -> None:
    """Aligned columns; bold heads and no wrapping at a terminal, tab-free plain text elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        for index, column in enumerate(columns):
            table.add_column(column, justify="right" if index in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*[Text(cell, style=_STYLES.get(cell, "")) for cell in row])
        Console().print(table)
        return
    lines = [list(columns), *[list(row) for row in rows]]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("   ".join(cells).rstrip())


_STYLES = {
    "ready": "green", "done": "green", "running": "green", "failing": "red", "failed": "bold red",
    "starting": "yellow", "queued": "yellow", "pending": "yellow", "backing_off": "yellow", "waking": "yellow", "cancelled": "dim",
    "asleep": "cyan",
}  # fmt: skip


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Labels and what they stand for, aligned."""
    width = max((len(label) for label, _ in facts), default=0)
    for label, text in facts:
        first, *others = text.split("\n")
        print(f"{label.ljust(width)}   {first}".rstrip())
        for other in others:
            print(f"{' ' * width}   {other}".rstrip())


def say(text: str) -> None:
    """A line for people on stderr, so that stdout stays what was asked for."""
    print(text, file=sys.stderr, flush=True)


def print_error(error: "ModelyardError", *, as_json: bool) -> None:
    """What is wrong and what to do, on stderr; with --json the error's body on stdout as well."""
    if as_json:
        body: dict[str, object] = {"error": error.message, "code": error.code}
        if error.field is not None:
            body["field"] = error.field
        print(json.dumps(body, ensure_ascii=False))
    first, _, rest = error.message.partition("\n")
    mark = "\x1b[1;31merror:\x1b[0m" if sys.stderr.isatty() else "error:"
    say(f"{mark} {first}")
    if error.field is not None and f"{error.field!r}" not in first:
        say(f"  in: {error.field}")
    if rest:
        say(rest.rstrip())
    if error.retry_after is not None:
        say(f"  try again in {error.retry_after:g} s")
