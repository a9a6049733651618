"""``modelyard models alias`` and ``history``."""

import re
import time
from collections.abc import Sequence

import typer

from modelyard.cli.common import client
from modelyard.cli.output import format_date, print_json, print_table
from modelyard.client.answers import AliasInfo
from modelyard.core.history import AliasMove
from modelyard.core.names import check_name
from modelyard.core.reference import parse_which

_FORMS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")


def list_aliases(model: str, *, as_json: bool) -> None:
    with client() as platform:
        found = platform.registry.aliases(model)
    if as_json:
        print_json({"model": model, "aliases": found})
    elif not found:
        print(f"{model} has no aliases. Make one: modelyard models alias {model} production 1")
    else:
        print_table(["ALIAS", "VERSION"], [[name, f"v{number}"] for name, number in found.items()])


def move(
    model: str, alias: str, version: str, because: str, expected: int | None, *, as_json: bool
) -> None:
    check_name(alias, field="alias")
    with client() as platform:
        which = parse_which(version)
        told = platform.registry.alias(
            model, alias, "latest" if which is None else which, because=because, expected=expected
        )
    _tell(told, as_json=as_json)


def remove(model: str, alias: str, because: str, expected: int | None, *, as_json: bool) -> None:
    with client() as platform:
        told = platform.registry.remove_alias(model, alias, because=because, expected=expected)
    _tell(told, as_json=as_json)


def history(model: str, alias: str | None, at: str | None, *, as_json: bool) -> None:
    since, until = (None, None) if at is None else span_of(at)
    with client() as platform:
        moves = platform.registry.history(model, alias, since=since, until=until)
    if as_json:
        print_json(moves)
    elif not moves:
        then = "" if at is None else " then"
        print(
            f"No alias named a version{then}."
            if alias is None
            else f"{model}@{alias} named no version{then}."
        )
    else:
        _table(moves)


def span_of(at: str) -> tuple[float, float]:
    """The first and the last second that ``at`` means in this machine's time: of a day, or one moment. Raises
    BadParameter (exit 2)."""
    for form in _FORMS:
        try:
            told = time.strptime(at, form)
        except ValueError:
            continue
        begin = time.mktime(told)
        if form.endswith("%S"):  # its end: a move that the history shows at this second holds then
            return begin + 0.999999, begin + 0.999999
        if form != _FORMS[0]:
            return begin, begin
        # Not 24 hours on: a day in which clocks are put forward or back has others.
        end = time.mktime((told.tm_year, told.tm_mon, told.tm_mday + 1, 0, 0, 0, 0, 0, -1))
        return begin, end - 0.001
    if re.fullmatch(r"\d+(\.\d+)?", at):
        return float(at), float(at)
    raise typer.BadParameter(
        f"{at!r} is no time; write 2026-11-01, 2026-11-01T12:30, 2026-11-01T12:30:05, or seconds since 1970.",
        param_hint="--at",
    )


def _tell(told: AliasInfo, *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    elif told.move is None:
        print(f"{told.model}@{told.alias} is at version {told.version} already.")
    elif told.version is None:
        print(f"{told.model}@{told.alias} is removed; it was at version {told.move.former}.")
    else:
        before = "" if told.move.former is None else f"; it was at {told.move.former}"
        print(f"{told.model}@{told.alias} is at version {told.version} now{before}.")


def _table(moves: Sequence[AliasMove]) -> None:
    print_table(
        ["SINCE", "ALIAS", "VERSION", "BEFORE", "BY", "BECAUSE"],
        [
            [
                format_date(move.time, exact=True),
                move.alias,
                "removed" if move.version is None else f"v{move.version}",
                "" if move.former is None else f"v{move.former}",
                move.who,
                move.why,
            ]
            for move in moves
        ],
    )
