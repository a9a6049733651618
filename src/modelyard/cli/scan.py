"""``modelyard models scan``: what scanners say of each file of a version."""

from modelyard.cli.common import client
from modelyard.cli.output import format_date, print_json, print_table, say
from modelyard.core.errors import InvalidInput
from modelyard.core.scan import VersionScan


def scan_version(version: str, *, again: bool, as_json: bool) -> None:
    """Raises NotFound, InvalidInput for what names no version."""
    name, _, number = version.partition("/")
    if number and not number.removeprefix("v").isdigit():
        raise InvalidInput(f"{version!r} names no version; write NAME or NAME/3.", field="NAME[/N]")
    with client() as platform:
        which = int(number.removeprefix("v")) if number else platform.model(name).latest
        if not as_json:
            say(f"Scanning {name} version {which} ...")
        found = platform.scan(name, which, again=again)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: VersionScan) -> None:
    print(f"{found.model} version {found.number}: {found.verdict}\n")
    rows = [
        [file.path, verdict.scanner, verdict.version[:40], verdict.verdict, format_date(verdict.time)]
        for file in found.files
        for verdict in file.verdicts
    ]
    print_table(["FILE", "SCANNER", "VERSION", "VERDICT", "SCANNED"], rows)
    lines = [
        (file.path + (f"/{each.where}" if each.where else ""), each)
        for file in found.files
        for verdict in file.verdicts
        for each in verdict.findings
    ]
    if lines:
        print()
    for where, each in lines:
        at = f" at byte {each.offset}" if each.offset is not None else ""
        print(f"{each.level}: {where}{at}: {each.what}")
    more = sum(verdict.more for file in found.files for verdict in file.verdicts)
    if more:
        print(f"and {more} more")
    for name, why in found.absent.items():
        print(f"note: {name} did not look: {why}")
    if found.quarantine is not None:
        print(f"\nIn quarantine, it cannot be deployed. {found.quarantine}")
