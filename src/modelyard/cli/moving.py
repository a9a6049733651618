"""``modelyard migrate``, ``backup``, ``restore``: a home's rows into another database, its bytes into a bucket, all
of it into a file."""

from pathlib import Path

from modelyard.cli.output import print_facts, print_json
from modelyard.cli.ticker import Ticker
from modelyard.control.backup import Backup, back_up, restore
from modelyard.control.blob_store import DISK
from modelyard.control.migrate import EMBEDDED, Moved, move
from modelyard.control.move_bytes import move_bytes
from modelyard.core.settings import load_settings
from modelyard.core.units import format_bytes


def run_migrate(to: str | None, blobs: str | None, *, as_json: bool) -> None:
    """Rows first, then bytes: after each of them the home is whole, and the same command ends what was cut off."""
    rows, content = None, None
    with Ticker(quiet=as_json) as ticker:
        if to is not None and not (blobs is not None and _is_in(to)):
            rows = move(load_settings(), to, ticker.show)
        if blobs is not None and not (rows is not None and _are_in(blobs)):
            content = move_bytes(load_settings(), blobs, ticker.show)
    if as_json:
        print_json(
            rows if content is None else content if rows is None else {"rows": rows, "bytes": content}
        )
        return
    if rows is not None:
        _tell_rows(rows)
    if content is not None:
        print(
            f"{content.blobs} blobs ({format_bytes(content.bytes)}) are {'on the disk of this home' if content.target == DISK else f'in {content.target}'} now; each was compared."
        )
        print(f"The former ones are kept in {content.kept}; remove them when nobody needs them.")
        for note in content.notes:
            print(f"note: {note}")
    print("Next: modelyard up")


def _is_in(to: str) -> bool:
    """Whether the rows are there already: what was cut off after that goes on."""
    return (load_settings().database or EMBEDDED) == to


def _are_in(blobs: str) -> bool:
    return (load_settings().blobs or DISK).rstrip("/") == blobs.rstrip("/")


def _tell_rows(moved: Moved) -> None:
    print(f"{sum(moved.rows.values())} rows are in {moved.target} now; each table was compared.")
    print_facts([(name, str(count)) for name, count in moved.rows.items() if count])
    print(f"The former ones are kept in {moved.kept}.")
    for note in moved.notes:
        print(f"note: {note}")


def run_backup(file: Path, *, as_json: bool) -> None:
    with Ticker(quiet=as_json) as ticker:
        made = back_up(load_settings(), file, ticker.show)
    _tell(made, f"{file} holds this home: keep it as you keep its key.", as_json=as_json)


def run_restore(file: Path, *, as_json: bool) -> None:
    settings = load_settings()
    with Ticker(quiet=as_json) as ticker:
        head = restore(settings, file, ticker.show)
    line = (
        f"{settings.home} is as it was, but for its environments. Next: modelyard up, which builds them again; "
        "modelyard endpoints tells how far it is."
    )
    _tell(head, line, as_json=as_json)


def _tell(backup: Backup, line: str, *, as_json: bool) -> None:
    if as_json:
        print_json(backup)
        return
    total = sum(content.rows for content in backup.tables.values())
    print(f"{total} rows of {backup.database}, {backup.blobs} blobs ({format_bytes(backup.bytes)}).")
    print(line)
