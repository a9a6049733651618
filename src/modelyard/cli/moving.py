"""``modelyard migrate``, ``backup``, ``restore``: a home's rows into another database, all of it into a file."""

from pathlib import Path

from modelyard.cli.output import print_facts, print_json
from modelyard.cli.ticker import Ticker
from modelyard.control.backup import Backup, back_up, restore
from modelyard.control.migrate import move
from modelyard.core.settings import load_settings
from modelyard.core.units import format_bytes


def run_migrate(to: str, *, as_json: bool) -> None:
    with Ticker(quiet=as_json) as ticker:
        moved = move(load_settings(), to, ticker.show)
    if as_json:
        print_json(moved)
        return
    print(f"{sum(moved.rows.values())} rows are in {moved.target} now; each table was compared.")
    print_facts([(name, str(count)) for name, count in moved.rows.items() if count])
    print(f"The former ones are kept in {moved.kept}.")
    for note in moved.notes:
        print(f"note: {note}")
    print("Next: modelyard up")


def run_backup(file: Path, *, as_json: bool) -> None:
    with Ticker(quiet=as_json) as ticker:
        made = back_up(load_settings(), file, ticker.show)
    _tell(made, f"{file} holds this home: keep it as you keep its key.", as_json=as_json)


def run_restore(file: Path, *, as_json: bool) -> None:
    settings = load_settings()
    with Ticker(quiet=as_json) as ticker:
        head = restore(settings, file, ticker.show)
    _tell(head, f"{settings.home} is as it was. Next: modelyard up, then modelyard doctor", as_json=as_json)


def _tell(backup: Backup, line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(backup)
        return
    total = sum(content.rows for content in backup.tables.values())
    print(f"{total} rows of {backup.database}, {backup.blobs} blobs ({format_bytes(backup.bytes)}).")
    print(line)
